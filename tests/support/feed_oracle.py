"""Invariants of every feed, however damaged, by counting its records in another way than the reader does.

Either the whole feed is refused with one short message, or each record of the file is a product or a skipped row, no
product has a field of another row, and no record vanished within another one.
"""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import count_rows, read_records
from sightline_server.ingest.feeds.source import opened_feed
from tests.support.feed_fuzz import Feed

ITEMS = ("item", "entry", "product")
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class WrongReadingError(AssertionError):
    """A feed that was read wrongly."""


@dataclass(frozen=True)
class Reading:
    """The result of a reading: products, problems, and for each record its first line; or the refusal."""

    outcomes: Sequence[FeedRow | Problem] = ()
    lines: Sequence[int] = ()
    refusal: str = ""

    @property
    def rows(self) -> list[FeedRow | Problem]:
        """Products and skipped rows, one for each record."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, FeedRow) or outcome.skipped]


def read(feed: Feed, path: Path) -> Reading:
    """Reads the feed in the ways that a build does. Any other exception than `SightlineError` is a failure."""
    path.write_bytes(feed.content)
    options = FeedOptions(encoding=feed.encoding)
    try:
        with opened_feed(path, options) as source:
            count = count_rows(source, options)
            records = [record for record in read_records(source, options) if not record.notice]
            reading = Reading(list(read_feed(source, options)), [record.line for record in records])
    except SightlineError as error:
        if not error.message.isprintable() or len(error.message) > 1000 or not error.message:
            raise WrongReadingError(f"an unreadable message: {error.message[:200]!r}") from error
        return Reading(refusal=error.message)
    if not count == len(records) == len(reading.rows):
        raise WrongReadingError(
            f"{count} rows counted, {len(records)} read, {len(reading.rows)} products and skipped rows"
        )
    return reading


def check(feed: Feed, reading: Reading) -> None:
    """Raises `WrongReadingError` where the reading is not what must be true of `feed`."""
    if not any(isinstance(outcome, FeedRow) for outcome in reading.rows):
        # Refused, or without a product, which the build refuses.
        return
    if feed.kind == "delimited" and feed.text is not None:
        check_lines(feed, feed.text, reading)
    elif feed.kind == "parquet" or feed.text is None:
        check_whole(feed, reading)
    else:
        records = expected_records(feed.kind, feed.text)
        if len(records) != len(reading.rows):
            raise WrongReadingError(f"{len(records)} records in the file, {len(reading.rows)} read")
        for own, outcome in zip(records, reading.rows, strict=True):
            check_tags(outcome, tags_in(own, feed.tags), feed.tags)


def check_whole(feed: Feed, reading: Reading) -> None:
    """A binary feed that was not refused gives every row as it was."""
    if [tags_of(outcome, feed.tags) for outcome in reading.rows] != [{tag} for tag in feed.tags]:
        raise WrongReadingError("the rows of a binary feed are not the ones written")


def check_lines(feed: Feed, text: str, reading: Reading) -> None:
    """Every line with something in it belongs to one record, and a record's further lines have no other row's tag."""
    lines = ["", *re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))]
    starts = list(reading.lines)
    if starts != sorted(set(starts)):
        raise WrongReadingError(f"records begin at lines {starts}")
    header = next((number for number, line in enumerate(lines) if is_header(line)), 0)
    first = next((n for n in range(header + 1, len(lines)) if tags_in(lines[n], feed.tags)), len(lines))
    if first < (starts[0] if starts else len(lines)):
        raise WrongReadingError(f"line {first} belongs to no record")
    for outcome, start, end in zip(reading.rows, starts, [*starts, len(lines)][1:], strict=True):
        each = [tags_in(line, feed.tags) for line in lines[start:end]]
        own = set().union(*each)
        # Where damage took out a line break, rows ran together in the file itself.
        if len(own) > 1 and all(len(tags) <= 1 for tags in each):
            raise WrongReadingError(f"the record of line {start} swallowed a row of the lines up to {end - 1}")
        check_tags(outcome, own | tags_in(lines[header], feed.tags), feed.tags)


def is_header(line: str) -> bool:
    """Returns whether `line` has the names of the columns."""
    return "image_link" in line and "id" in line and "# Required" not in line


def check_tags(outcome: FeedRow | Problem, own: set[str], tags: tuple[str, ...]) -> None:
    """A product has only the tags of its record in the file."""
    found = tags_of(outcome, tags)
    if found - own:
        raise WrongReadingError(f"a product has the tags {sorted(found)}, its record has {sorted(own)}")


def tags_of(outcome: FeedRow | Problem, tags: tuple[str, ...]) -> set[str]:
    """The tags in all texts of a product."""
    if isinstance(outcome, Problem):
        return set()
    return tags_in(" ".join([repr(outcome.product), *outcome.images]), tags)


def tags_in(text: str, tags: tuple[str, ...]) -> set[str]:
    """The tags that occur in `text`."""
    return {tag for tag in tags if tag in text}


def expected_records(kind: str, text: str) -> list[str]:
    """The records of a feed's text by parsers of whole texts. Raises `WrongReadingError` where it is not valid."""
    text = text.removeprefix("\ufeff")
    if kind == "lines":
        with suppress(ValueError):
            # A file of one object is a document as well.
            return json_records(text)
        return [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    try:
        return json_records(text) if kind == "document" else xml_records(text)
    except (ValueError, ElementTree.ParseError) as error:
        raise WrongReadingError(f"a document that is not valid was read: {error}") from error


def json_records(text: str) -> list[str]:
    """The objects of a JSON document as texts, doubled names kept."""
    pairs = json.loads(text, object_pairs_hook=list)
    if pairs and isinstance(pairs[0], tuple):
        lists = [value for name, value in pairs if name in ("products", "resources")]
        pairs = lists[0] if lists else [pairs]
    return [repr(item) for item in pairs]


def xml_records(text: str) -> list[str]:
    """The texts of the items of an XML document."""
    # Without namespaces, because ElementTree gives braces in their names a meaning.
    plain = re.sub(r"""\sxmlns(?::\w+)?="[^"]*\"""", "", NOT_IN_XML.sub("?", text)).replace("g:", "g-")
    root = ElementTree.fromstring(plain)
    items = [
        element for element in root.iter() if element.tag.rpartition("}")[2].lower() in ITEMS and element is not root
    ]
    inner = {id(child) for item in items for child in item.iter() if child is not item}
    return [ElementTree.tostring(item, encoding="unicode") for item in items if id(item) not in inner]
