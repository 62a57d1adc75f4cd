"""XML feeds -> records: RSS 2.0, RSS 1.0 and Atom with or without `g:`, and plain product lists.

Rule: read by expat as a stream, one item in memory at a time. A DOCTYPE is refused, so that there are no entities but
the five of XML and nothing is fetched. XML that is not well-formed is refused as a whole, because the items behind
the fault cannot be told apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from sightline_server.ingest.feeds.columns import as_list, canonical_names, column_name, gathered
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.records import BAD_CHARACTER, MAX_RECORD_CHARS, Record, excerpt, guarded, refused
from sightline_server.ingest.feeds.rows import TOO_LONG
from sightline_server.ingest.feeds.text import opened_text, release

CHUNK_CHARS = 64 * 1024
MAX_TOKEN_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
ITEMS = frozenset({"item", "entry", "product", "offer", "shopitem"})
MAX_ITEM_DEPTH = 4
GOOGLE = ("http://base.google.com/ns/1.0", "https://base.google.com/ns/1.0", "http://base.google.com/cns/1.0")
SINGLE = frozenset({"id", "title", "price", "link", "availability", "brand", "item_group_id"})
LINKS = frozenset({"link", "image_link", "additional_image_link", "image", "img", "picture", "photo", "enclosure"})
LINK_ATTRIBUTES = ("href", "url", "src")

# Not allowed in XML 1.0, and common in exports that paste texts: they cost their item, not the feed.
CONTROLS = {code: BAD_CHARACTER for code in range(32) if chr(code) not in "\t\n\r"} | {
    0xFFFE: BAD_CHARACTER,
    0xFFFF: BAD_CHARACTER,
}
CONTROLS |= dict.fromkeys(range(0xD800, 0xE000), BAD_CHARACTER)


@dataclass(slots=True)
class Element:
    """An element that is being read, within an item."""

    namespace: str
    name: str
    attributes: dict[str, str]
    texts: list[str] = field(default_factory=list)
    children: list[tuple[str, str, object]] = field(default_factory=list)

    def value(self) -> object:
        """Its text; the link of a link element; the children where it has some."""
        text = "".join(self.texts).strip()
        if self.children:
            values: dict[str, object] = {}
            for _, name, value in self.children:
                values[name] = [*as_list(values[name]), value] if name in values else value
            return values
        if not text and self.name in LINKS:
            return next((self.attributes[name] for name in LINK_ATTRIBUTES if name in self.attributes), "")
        return text


class ItemReader:
    """Receives what expat finds and collects finished items in `records`."""

    def __init__(self, name: str) -> None:
        self.records: list[Record] = []
        self.items = 0
        self.root = ""
        self.lines_above = 0
        self._name = name
        self._depth = 0
        self._open: list[Element] = []
        self._line = 0
        self._chars = 0
        self._fault = ""
        self.parser = expat.ParserCreate("utf-8", namespace_separator="\n")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, name: str, *_: object) -> None:
        if name.lower() == "html":
            raise refused(f"{self._name} is an HTML page and not a feed; it may be a login or an error page")
        raise refused(f"{self._name} has a DOCTYPE, which a feed does not need; remove it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition("\n")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise refused(f"{self._name} nests elements deeper than {MAX_DEPTH} levels")
        if self._depth == 1:
            self.root = name
            if name.lower() == "html":
                self._doctype(name)
        if self._open:
            self._open.append(Element(namespace, column_name(name), attributes))
            self._count(sum(len(text) for text in attributes.values()))
        elif name.lower() in ITEMS and 1 < self._depth <= MAX_ITEM_DEPTH:
            self._line, self._chars = self.parser.CurrentLineNumber + self.lines_above, 0
            self._fault = ""
            self._open.append(Element(namespace, "", attributes))

    def _text(self, text: str) -> None:
        if self._open and self._count(len(text)):
            self._open[-1].texts.append(text)

    def _count(self, chars: int) -> bool:
        self._chars += chars
        return self._chars <= MAX_RECORD_CHARS

    def _end(self, _: str) -> None:
        self._depth -= 1
        if not self._open:
            return
        element = self._open.pop()
        if not self._open:
            self.items += 1
            self.records.append(guarded(self.items, self._line, lambda: self._record(element)))
        elif self._chars <= MAX_RECORD_CHARS:
            self._add_child(self._open[-1], element)

    def _add_child(self, parent: Element, child: Element) -> None:
        try:
            parent.children.append((child.namespace, name_of(child), child.value()))
        except Exception as error:  # it would end the parser, and with it the feed
            self._fault = f"cannot be read ({type(error).__name__})"

    def _record(self, item: Element) -> Record:
        if self._chars > MAX_RECORD_CHARS:
            return Record(self.items, {}, TOO_LONG, self._line)
        if self._fault:
            return Record(self.items, {}, self._fault, self._line)
        pairs = preferred(item.namespace, item.children)
        own = {name for name, _ in pairs}
        for tag, text in item.attributes.items():
            name = column_name(tag.rpartition("\n")[2])
            if name not in own:
                pairs.append((name, text))
        repeated = repeated_name(pairs)
        if repeated:
            return Record(self.items, {}, f"has the element {repeated} more than once", self._line)
        names = more_images(canonical_names([name for name, _ in pairs]))
        values = gathered((name, value) for name, (_, value) in zip(names, pairs, strict=True))
        return Record(self.items, values, line=self._line)


def name_of(element: Element) -> str:
    """The element's column. Atom's `rel` distinguishes the page of a product from `self`, `enclosure` and others."""
    relation = element.attributes.get("rel", "alternate").lower() if element.name == "link" else ""
    return element.name if relation in ("", "alternate") else f"link_{column_name(relation)}"


def preferred(own: str, children: list[tuple[str, str, object]]) -> list[tuple[str, object]]:
    """The children of an item by name; where a name occurs in several namespaces, those of the best one.

    Google's is better than the item's `own`, and for single values that is better than others: `media:title` is no
    second `title`.
    """
    best: dict[str, int] = {}
    ranked = [(rank(namespace, name, own), name, value) for namespace, name, value in children]
    for place, name, _ in ranked:
        best[name] = min(place, best.get(name, place))
    return [(name, value) for place, name, value in ranked if place == best[name]]


def rank(namespace: str, name: str, own: str) -> int:
    """The preference of the element `name` of `namespace`; 0 is the best."""
    if namespace in GOOGLE:
        return 0
    return 2 if name in SINGLE and namespace not in ("", own) else 1


def more_images(names: list[str]) -> list[str]:
    """`names` with every `image_link` but the first as an additional one."""
    first = names.index("image_link") if "image_link" in names else len(names)
    later = ["additional_image_link" if name == "image_link" else name for name in names[first + 1 :]]
    return names[: first + 1] + later


def repeated_name(pairs: list[tuple[str, object]]) -> str:
    """The first name of one value that occurs with several: two items may have run into one. Empty if none does."""
    seen: dict[str, object] = {}
    for name, value in pairs:
        if name in SINGLE and value not in ("", None) and seen.setdefault(name, value) != value:
            return name
    return ""


def read_xml(file: BinaryIO, name: str, options: FeedOptions) -> Iterator[Record]:
    """The records of an XML feed. Raises `SightlineError` where it is not well-formed or has no items."""
    reader = ItemReader(name)
    text = opened_text(file, options.encoding, declared=True)
    given = 0
    try:
        while chunk := text.read(CHUNK_CHARS):
            if not given:
                # Blank lines above the declaration, which templates of web shops leave there, do not belong to the XML.
                inner = chunk.lstrip("\ufeff \t\r\n")
                reader.lines_above += chunk[: len(chunk) - len(inner)].count("\n")
                chunk = inner
            data = chunk.translate(CONTROLS).encode("utf-8")
            given += len(data)
            reader.parser.Parse(data, False)
            yield from taken(reader)
            if given - reader.parser.CurrentByteIndex > MAX_TOKEN_BYTES:
                raise refused(f"{name} has a tag or a comment longer than {MAX_TOKEN_BYTES} bytes")
        reader.parser.Parse(b"", True)
        yield from taken(reader)
    except expat.ExpatError as error:
        where = f"line {error.lineno + reader.lines_above}, column {error.offset + 1}"
        raise refused(f"{name} is not well-formed XML at {where}: {expat.ErrorString(error.code)}") from error
    finally:
        release(text)
    if not reader.items:
        raise refused(f"{name} has no <item> or <entry> below its element <{excerpt(reader.root)}>")


def taken(reader: ItemReader) -> list[Record]:
    """The finished records, which the reader then forgets."""
    records, reader.records = reader.records, []
    return records
