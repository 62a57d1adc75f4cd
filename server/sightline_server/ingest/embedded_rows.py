"""JSON lines or Parquet of products with ready embeddings -> catalog rows.

    {"id": "p1", "title": "Chair", "image_link": "https://...", "embedder": "name@digest", "embeddings": [[...], ...]}

Rule: the other fields are those of a feed. Each image has one embedding, made by the catalog's own embedder.
"""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import VIEWS_ENDING, embedder_named
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.embedded_parquet import EMBEDDER, EMBEDDINGS, Ready, parquet_records
from sightline_server.ingest.feed import parse_record
from sightline_server.ingest.feed_rows import ParsedRow, Problem, ProblemKind
from sightline_server.ingest.feeds.formats import Format
from sightline_server.ingest.feeds.json_objects import guarded_record
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import UNREADABLE, count_rows
from sightline_server.ingest.feeds.records import Record, excerpt, refused
from sightline_server.ingest.feeds.rows import TOO_LONG
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.feeds.text import lines_of, opened_text, release


@dataclass(frozen=True, slots=True)
class ReadyRow:
    """A product with ready embeddings, its line, and the embedder that the line names."""

    line: int
    row: CatalogRow
    embedder: str


Rows: TypeAlias = Generator[CatalogRow | Problem, None, None]
ReadyRows: TypeAlias = Generator[ReadyRow | Problem, None, None]
Make: TypeAlias = Callable[[ParsedRow, Ready, int], ReadyRow | Problem]
"""The product of a parsed row and what is ready in it; the number is its line."""


class Target(Protocol):
    """The catalog that the rows are for."""

    @property
    def embedder(self) -> EmbedderSpec:
        """The embedder of its vectors."""

    @property
    def views(self) -> int:
        """The views of each image."""

    def fault(self, row: CatalogRow) -> str:
        """The reason why a product cannot be stored; empty when it can."""


def read_embedded(feed: OpenFeed, target: Target, options: FeedOptions) -> Rows:
    """The products of `feed`, in order, each followed by its warnings; what cannot be stored is a `Problem`.

    To be closed before `feed`. Raises `SightlineError` of kind CONFIGURATION for a feed of another format, or one that
    cannot be read as a whole.
    """
    with closing(read_ready(feed, partial(stored_row, target=target), options)) as rows:
        for each in rows:
            yield each.row if isinstance(each, ReadyRow) else each


def read_ready(feed: OpenFeed, make: Make, options: FeedOptions) -> ReadyRows:
    """The products of `feed` as `make` makes them. As `read_embedded`."""
    readers = {Format.JSON: line_records, Format.PARQUET: parquet_records}
    if feed.format not in readers:
        text = "products with ready embeddings are JSON lines, one object a line, or Parquet"
        raise refused(f"{feed.name} is {feed.format.value}; {text}")
    feed.file.seek(0)
    first_rows: dict[str, int] = {}
    try:
        for record, ready in readers[feed.format](feed, options):
            for each in rows_of(record, ready, make, options):
                yield checked_id(each, first_rows, record)
    except UNREADABLE as error:
        raise refused(f"{feed.name} cannot be read: {type(error).__name__}") from error


def count_embedded(feed: OpenFeed, options: FeedOptions) -> int:
    """The number of rows of `feed`, for its progress; 0 for a feed that `read_embedded` refuses."""
    if feed.format is not Format.JSON:
        return count_rows(feed, options) if feed.format is Format.PARQUET else 0
    feed.file.seek(0)
    text = opened_text(feed.file, options.encoding)
    try:
        return sum(1 for line in lines_of(text) if line.too_long or line.text.strip())
    except UNREADABLE:
        return 0
    finally:
        release(text)


def line_records(feed: OpenFeed, options: FeedOptions) -> Iterator[tuple[Record, Ready]]:
    """The lines of a JSON feed, and what is ready in each."""
    text = opened_text(feed.file, options.encoding)
    try:
        for line in lines_of(text):
            if line.too_long:
                yield Record(line.number, {}, TOO_LONG, line.number), {}
            elif line.text.strip():
                ready, rest = split(line.text)
                yield guarded_record(line.number, line.number, rest), ready
    finally:
        release(text)


def checked_id(each: ReadyRow | Problem, first_rows: dict[str, int], record: Record) -> ReadyRow | Problem:
    """`each`, or a problem where its id came before."""
    if isinstance(each, Problem):
        return each
    first = first_rows.setdefault(each.row.product.id, record.row)
    if first == record.row:
        return each
    text = f"the id is the same as in row {first}"
    return Problem(record.row, ProblemKind.DUPLICATE_ID, text, each.row.product.id, line=record.line)


def rows_of(record: Record, ready: Ready, make: Make, options: FeedOptions) -> Iterator[ReadyRow | Problem]:
    """The product of one row and its warnings."""
    outcome = parse_record(record, options)
    if isinstance(outcome, Problem):
        yield outcome
        return
    yield make(outcome, ready, record.line)
    yield from outcome.warnings


def split(text: str) -> tuple[Ready, str]:
    """The embeddings and the embedder of a line, and the line without them."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}, text
    if not isinstance(values, dict):
        return {}, text
    ready = {name: values.pop(name, None) for name in (EMBEDDINGS, EMBEDDER)}
    return ready, json.dumps(values)


def stored_row(parsed: ParsedRow, values: Ready, line: int, target: Target) -> ReadyRow | Problem:
    """The product of a row, or what is wrong with it for the catalog `target`."""
    fault = embedder_fault(values.get(EMBEDDER), target.embedder, target.views)
    if fault:
        return unusable(parsed, fault, line)
    made = sent_row(parsed, values, line)
    if isinstance(made, ReadyRow) and (fault := target.fault(made.row)):
        return unusable(parsed, fault, line)
    return made


def sent_row(parsed: ParsedRow, values: Ready, line: int) -> ReadyRow | Problem:
    """The product of a row for a server, which checks its embeddings against the catalog."""
    row, embedder = parsed.row, values.get(EMBEDDER)
    if not isinstance(embedder, str) or not embedder:
        return unusable(parsed, f"it does not name its embedder in {EMBEDDER!r}", line)
    vectors = numbers(values.get(EMBEDDINGS))
    if vectors is None:
        return unusable(parsed, "its embeddings are not a list of lists of numbers, one list per image", line)
    return ReadyRow(line, CatalogRow(row.product, row.price, row.images, vectors), embedder)


def unusable(parsed: ParsedRow, fault: str, line: int) -> Problem:
    """The problem of a row whose embeddings cannot be used."""
    row = parsed.row
    return Problem(row.row, ProblemKind.UNUSABLE_EMBEDDING, fault, row.product.id, line=line)


def embedder_fault(named: object, embedder: EmbedderSpec, views: int) -> str:
    """The fault of the embedder that a line names; empty when it is that of a catalog with so many views."""
    expected = embedder.identity
    plain = embedder_named(named, views) if isinstance(named, str) else named
    if plain in (expected, f"{embedder.name}@{embedder.sha256}"):
        return ""
    if not isinstance(named, str):
        return f"it does not name its embedder; expected {EMBEDDER!r}: {expected!r}"
    embedder_part, _, own_views = named.partition(VIEWS_ENDING)
    if embedder_part in (expected, f"{embedder.name}@{embedder.sha256}"):
        return f"its embeddings are of {excerpt(own_views)} views of each image, the catalog has {views}"
    return f"its embedder is {excerpt(named)}, the catalog has {expected}"


def numbers(value: object) -> NDArray[np.float32] | None:
    """Embeddings float32 [N,D]; None for anything else."""
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is refused
            found = np.array(value, np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.ndim == 2 else None
