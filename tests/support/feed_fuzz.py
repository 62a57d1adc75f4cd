"""Random feeds of every format and random damage to them.

Every field of row n carries the tag of row n, a random word. No damage of a few bytes turns one tag into another, so a
product with two tags has a field of another row.
"""

import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("id", "title", "link", "image_link", "price", "brand", "additional_image_link", "description")
NEWLINES = ("\n", "\n", "\n", "\r\n", "\r\n", "\r")
ODD = ("", "", "", " 60 in.", ' 60"', ", red", "; blue", "\ttab", "\nline", "\r\nline two, x", "|", " ü€")
GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'
LETTERS = "bcdfghjklmnpqrstvwxyz"


@dataclass(frozen=True)
class Feed:
    """A feed as bytes. `text` is what they were encoded from, None where they have no text that could be compared."""

    kind: str
    name: str
    content: bytes
    tags: tuple[str, ...]
    encoding: str = ""
    text: str | None = None
    delimiter: str = ""


def make_feed(chance: random.Random) -> Feed:
    """A feed of 1 to 7 products, damaged at 0 to 4 positions."""
    tags = tuple("".join(chance.choices(LETTERS, k=7)) for _ in range(chance.randint(1, 7)))
    rows = [row_values(chance, tag) for tag in tags]
    kind = chance.choice(("delimited",) * 5 + ("lines", "lines", "document", "document", "xml", "xml", "parquet"))
    if kind == "parquet":
        return packed(chance, parquet_feed(chance, rows, tags))
    delimiter = chance.choice("\t\t,,;|") if kind == "delimited" else ""
    text = WRITERS[kind](chance, rows, delimiter)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        text = chance.choice(DAMAGE)(chance, text, delimiter)
    encoding = chance.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "cp1252"))
    content = text.encode(encoding, "replace")
    if chance.random() < 0.15:
        content = damaged_bytes(chance, content, resize=not encoding.startswith("utf-16"))
    text = content.decode(encoding, "replace")
    stated = encoding if encoding == "cp1252" else ""
    name = {"delimited": "feed.csv", "lines": "feed.jsonl", "document": "feed.json", "xml": "feed.xml"}[kind]
    return packed(chance, Feed(kind, name, content, tags, stated, text, delimiter))


def row_values(chance: random.Random, tag: str) -> dict[str, str]:
    """The values of one product; a few are empty or hold signs that formats use."""
    odd = chance.choice(ODD)
    description = ("", f"{tag} text", f'{tag} "a", and b', f"{tag}\nof two lines", f'"{tag}"')
    return {
        "id": tag,
        "title": f"{tag} title{odd}",
        "link": f"https://shop.example/{tag}",
        "image_link": chance.choice((f"https://cdn.example/{tag}.jpg", f"{tag}/a.png", f"//cdn.example/{tag}")),
        "price": f"{len(tag)}.00 USD",
        "brand": chance.choice(("", f"{tag}-brand")),
        "additional_image_link": chance.choice(("", f"https://cdn.example/{tag}/w_1,h_2/b.jpg")),
        "description": chance.choice(description),
    }


def delimited_text(chance: random.Random, rows: list[dict[str, str]], delimiter: str) -> str:
    """A table, quoted where it has to be, sometimes everywhere."""
    newline = chance.choice(NEWLINES)
    columns = list(COLUMNS)
    if chance.random() < 0.5:
        chance.shuffle(columns)
    if chance.random() < 0.1:
        columns.append("brand")
    always = chance.random() < 0.15

    def cell(value: str) -> str:
        value = re.sub(r"\r\n|\n", newline, value) if newline != "\r" else value.replace("\r\n", " ").replace("\n", " ")
        special = any(sign in value for sign in (delimiter, "\n", "\r")) or value.startswith('"')
        return '"' + value.replace('"', '""') + '"' if special or always else value

    lines = [delimiter.join(columns)] + [delimiter.join(cell(row[name]) for name in columns) for row in rows]
    if chance.random() < 0.1:
        lines.insert(0, f"sep={delimiter}")
    elif chance.random() < 0.1:
        lines.insert(0, delimiter.join(f"# Required | {name}" for name in columns))
    return newline.join(lines) + chance.choice((newline, ""))


def lines_text(chance: random.Random, rows: list[dict[str, str]], _: str) -> str:
    """JSON lines."""
    return chance.choice(NEWLINES).join(json.dumps(row, ensure_ascii=chance.random() < 0.5) for row in rows) + "\n"


def document_text(chance: random.Random, rows: list[dict[str, str]], _: str) -> str:
    """A JSON array, or an object that holds one."""
    items: object = rows if chance.random() < 0.6 else {"kind": "list", chance.choice(("products", "resources")): rows}
    return json.dumps(items, indent=chance.choice((None, 1)), ensure_ascii=False)


def xml_text(chance: random.Random, rows: list[dict[str, str]], _: str) -> str:
    """RSS, Atom or a plain list."""
    head, item, foot, prefix = chance.choice(
        (
            (f'<rss version="2.0" {GOOGLE}><channel><title>s</title>', "item", "</channel></rss>", "g:"),
            (f'<feed xmlns="http://www.w3.org/2005/Atom" {GOOGLE}>', "entry", "</feed>", "g:"),
            ("<products>", "product", "</products>", ""),
        )
    )
    parts = [head]
    for row in rows:
        fields = "\n".join(f"<{prefix}{name}>{escape(value)}</{prefix}{name}>" for name, value in row.items() if value)
        parts.append(f"<{item}>{fields}</{item}>")
    return "\n".join([*parts, foot])


WRITERS: dict[str, Callable[[random.Random, list[dict[str, str]], str], str]] = {
    "delimited": delimited_text,
    "lines": lines_text,
    "document": document_text,
    "xml": xml_text,
}


def parquet_feed(chance: random.Random, rows: list[dict[str, str]], tags: tuple[str, ...]) -> Feed:
    """A Parquet file with checksums of its pages; sometimes with a damaged byte or cut."""
    file = io.BytesIO()
    table = pa.table({name: [row[name] for row in rows] for name in COLUMNS})
    pq.write_table(table, file, write_page_checksum=True, row_group_size=chance.choice((2, 100)))
    content = file.getvalue()
    damaged = chance.random() < 0.5
    return Feed("parquet", "feed.parquet", damaged_bytes(chance, content) if damaged else content, tags)


def packed(chance: random.Random, feed: Feed) -> Feed:
    """The feed as it is, or packed, and then sometimes damaged again."""
    if chance.random() < 0.8:
        return feed
    if chance.random() < 0.5:
        content, suffix = gzip.compress(feed.content, 1), ".gz"
    else:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(feed.name, feed.content)
        content, suffix = file.getvalue(), ".zip"
    if chance.random() < 0.2:
        content = gzip.compress(content, 1)
    if chance.random() < 0.4:
        content = damaged_bytes(chance, content)
    return replace(feed, name=feed.name + suffix, content=content)


def damaged_bytes(chance: random.Random, content: bytes, resize: bool = True) -> bytes:
    """One byte changed, put in or taken out, or the end cut off."""
    if not content:
        return content
    at = chance.randrange(len(content))
    way = chance.choice(("change", "bad", "insert", "remove", "cut")) if resize else chance.choice(("change", "cut"))
    if way == "cut":
        return content[:at]
    byte = b"\xff" if way == "bad" else bytes([chance.randrange(256)])
    return content[:at] + (b"" if way == "remove" else byte) + content[at + (way != "insert") :]


def insert(sign: str) -> Callable[[random.Random, str, str], str]:
    """Damage that puts `sign` (`{d}` is the delimiter) anywhere, half of the time at the start or end of a field."""

    def damage(chance: random.Random, text: str, delimiter: str) -> str:
        added = sign.replace("{d}", delimiter or ",")
        at = chance.randint(0, len(text))
        if chance.random() < 0.5:
            ends = [match.start() + chance.randint(0, 1) for match in re.finditer(r"[\t,;|\r\n>]", text)]
            at = chance.choice(ends) if ends else at
        return text[:at] + added + text[at:]

    return damage


def remove(pattern: str) -> Callable[[random.Random, str, str], str]:
    """Damage that removes one match of `pattern`."""

    def damage(chance: random.Random, text: str, delimiter: str) -> str:
        found = list(re.finditer(pattern.replace("{d}", re.escape(delimiter or ",")), text))
        if not found:
            return text
        match = chance.choice(found)
        return text[: match.start()] + text[match.end() :]

    return damage


def cut(chance: random.Random, text: str, _: str) -> str:
    """Damage that cuts the end off."""
    return text[: chance.randint(0, len(text))]


def remove_part(chance: random.Random, text: str, _: str) -> str:
    """Damage that takes out up to 30 characters."""
    at = chance.randint(0, len(text))
    return text[:at] + text[at + chance.randint(1, 30) :]


def insert_line(chance: random.Random, text: str, _: str) -> str:
    """Damage that puts in a line: blank, a remark, or a quote alone."""
    starts = [match.end() for match in re.finditer(r"\r\n|\r|\n", text)] or [0]
    at = chance.choice(starts)
    return text[:at] + chance.choice(("\n", " \n", "# remark\n", '"\n', '""\n', ",,,\n", "{}\n", "\r\n")) + text[at:]


def quote_field(chance: random.Random, text: str, delimiter: str) -> str:
    """Damage that opens a quote in one field and closes it in a later one."""
    ends = [match.start() for match in re.finditer(rf"[{re.escape(delimiter or ',')}\r\n]", text)]
    if len(ends) < 2:
        return text
    first, last = sorted(chance.sample(ends, 2))
    return text[: first + 1] + '"' + text[first + 1 : last] + '"' + text[last:]


DAMAGE: tuple[Callable[[random.Random, str, str], str], ...] = (
    *(insert('"'), insert('"'), insert('"'), insert('""'), insert("{d}"), insert("\n"), insert("\r"), insert("\r\n")),
    *(
        insert("\u2028"),
        insert("\x00"),
        insert("\\"),
        insert("]"),
        insert("}"),
        insert("<"),
        insert("&amp;"),
        insert("ü"),
    ),
    *(remove('"'), remove('"'), remove("{d}"), remove(r"\r\n|\r|\n"), remove(r"</?\w[^>]*>"), remove(r"[{}\[\]:]")),
    *(remove(r"</\w+>\s*<\w+>"), cut, remove_part, insert_line, quote_field, quote_field),
)
