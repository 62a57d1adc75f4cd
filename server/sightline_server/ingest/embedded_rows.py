"""JSON lines of products with ready embeddings -> catalog rows.

    {"id": "p1", "title": "Chair", "image_link": "https://...", "embedder": "name@digest", "embeddings": [[...], ...]}

Rule: the other fields are those of a JSON feed. Each image has one embedding, made by the catalog's own embedder.
"""

import json
from collections.abc import Generator, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.living import LivingCatalog
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.feed import ParsedRow, Problem, ProblemKind, parse_record
from sightline_server.ingest.feeds.formats import Format
from sightline_server.ingest.feeds.json_objects import guarded_record
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.records import excerpt, refused
from sightline_server.ingest.feeds.rows import TOO_LONG
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.feeds.text import lines_of, opened_text

Rows: TypeAlias = Generator[CatalogRow | Problem, None, None]
EMBEDDINGS, EMBEDDER = "embeddings", "embedder"


def read_embedded(feed: OpenFeed, living: LivingCatalog, options: FeedOptions) -> Rows:
    """The products of `feed`, in order, each followed by its warnings; what cannot be stored is a `Problem`.

    To be closed before `feed`. Raises `SightlineError` of kind CONFIGURATION for a feed of another format.
    """
    if feed.format is not Format.JSON:
        raise refused(f"{feed.name} is not JSON lines; products with ready embeddings are one JSON object a line")
    feed.file.seek(0)
    text = opened_text(feed.file, options.encoding)
    first_lines: dict[str, int] = {}
    try:
        for line in lines_of(text):
            if line.too_long:
                yield Problem(line.number, ProblemKind.MALFORMED_ROW, TOO_LONG, line=line.number)
            elif line.text.strip():
                for each in rows_of(line.number, line.text, living, options):
                    yield checked_id(each, first_lines, line.number)
    finally:
        text.detach()


def checked_id(each: CatalogRow | Problem, first_lines: dict[str, int], line: int) -> CatalogRow | Problem:
    """`each`, or a problem where its id came before."""
    if isinstance(each, Problem):
        return each
    first = first_lines.setdefault(each.product.id, line)
    if first == line:
        return each
    text = f"the id is the same as in row {first}"
    return Problem(line, ProblemKind.DUPLICATE_ID, text, each.product.id, line=line)


def rows_of(number: int, text: str, living: LivingCatalog, options: FeedOptions) -> Iterator[CatalogRow | Problem]:
    """The product of one line and its warnings."""
    values, rest = split(text)
    outcome = parse_record(guarded_record(number, number, rest), options)
    if isinstance(outcome, Problem):
        yield outcome
        return
    yield stored_row(outcome, values, living)
    yield from outcome.warnings


def split(text: str) -> tuple[dict[str, object], str]:
    """The embeddings and the embedder of a line, and the line without them."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}, text
    if not isinstance(values, dict):
        return {}, text
    ready = {name: values.pop(name, None) for name in (EMBEDDINGS, EMBEDDER)}
    return ready, json.dumps(values)


def stored_row(parsed: ParsedRow, values: dict[str, object], living: LivingCatalog) -> CatalogRow | Problem:
    """The catalog row of a line, or what is wrong with its embeddings."""
    row = parsed.row
    fault = embedder_fault(values.get(EMBEDDER), living.embedder)
    vectors = None if fault else numbers(values.get(EMBEDDINGS))
    if vectors is not None:
        made = CatalogRow(row.product, row.price, row.images, vectors)
        fault = living.fault(made)
        if not fault:
            return made
    fault = fault or "its embeddings are not a list of lists of numbers, one list per image"
    return Problem(row.row, ProblemKind.UNUSABLE_EMBEDDING, fault, row.product.id, line=row.row)


def embedder_fault(named: object, embedder: EmbedderSpec) -> str:
    """The fault of the embedder that a line names; empty when it is the catalog's."""
    expected = embedder.identity
    if named in (expected, f"{embedder.name}@{embedder.sha256}"):
        return ""
    if not isinstance(named, str):
        return f"it does not name its embedder; expected {EMBEDDER!r}: {expected!r}"
    return f"its embedder is {excerpt(named)}, the catalog has {expected}"


def numbers(value: object) -> NDArray[np.float32] | None:
    """Embeddings float32 [N,D]; None for anything else."""
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is refused
            found = np.array(value, np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.ndim == 2 else None
