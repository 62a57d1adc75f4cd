"""JSON lines of changes -> updates of products that a catalog has: price, stock and texts, without their images.

    {"id": "p1", "price": "79 EUR", "availability": "out of stock"}

Rule: a field that a line does not have stays as it is. What is wrong with a line is a `Problem` of that line.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from sightline_console.remote_catalog import Outcome, RemoteCatalog
from sightline_server.index.living import UPDATABLE, LivingCatalog, ProductUpdate
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.feed import parse_record
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.feeds.formats import Format
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import read_records
from sightline_server.ingest.feeds.records import refused
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.remote import refused as refused_by_server
from sightline_server.ingest.remote import remote_update
from sightline_server.ingest.upsert import GROUP_ROWS, UpsertReport, require_products


@dataclass(frozen=True, slots=True)
class UpdateRow:
    """One line: its number and what it changes."""

    row: int
    update: ProductUpdate


WriteUpdates: TypeAlias = Callable[[Sequence[UpdateRow]], Sequence[Problem | None]]
"""Writes some updates; returns the problem of each, or None."""


def read_updates(feed: OpenFeed, options: FeedOptions) -> Generator[UpdateRow | Problem, None, None]:
    """The updates of `feed`, in order, each followed by its warnings.

    To be closed before `feed`. Raises `SightlineError` of kind CONFIGURATION for a feed of another format.
    """
    if feed.format is not Format.JSON:
        raise refused(f"{feed.name} is not JSON; changes are one JSON object a line, with an id and new values")
    options = replace(options, images_required=False)
    for record in read_records(feed, options):
        outcome = parse_record(record, options)
        if isinstance(outcome, Problem):
            yield outcome
            continue
        product = outcome.row.product
        texts = {name: text for name in UPDATABLE if (text := getattr(product, name))}
        if texts or outcome.row.price:
            yield UpdateRow(record.row, ProductUpdate(product.id, texts, outcome.row.price))
        else:
            text = f"has no new value; expected a price or one of {', '.join(UPDATABLE)}"
            yield Problem(record.row, ProblemKind.NOTHING_TO_CHANGE, text, product.id, line=record.line)
        yield from outcome.warnings


def update_rows(
    rows: Iterable[UpdateRow | Problem], write: WriteUpdates, progress: Progress, name: str
) -> UpsertReport:
    """Writes updates in groups. Raises `SightlineError` of kind INVALID_REQUEST when none could be written."""
    problems, written = list[Problem](), 0
    source = iter(rows)
    while group := list(islice(source, GROUP_ROWS)):
        updates = [each for each in group if isinstance(each, UpdateRow)]
        outcomes = write(updates)
        written += sum(outcome is None for outcome in outcomes)
        found = [each for each in group if isinstance(each, Problem)]
        found += [outcome for outcome in outcomes if outcome is not None]
        for problem in sorted(found, key=lambda problem: problem.row):
            problems.append(problem)
            progress.problem(problem)
    require_products(written, len(problems), name)
    return UpsertReport(written, tuple(problems))


def written_to(living: LivingCatalog) -> WriteUpdates:
    """Writes to a folder."""

    def write(updates: Sequence[UpdateRow]) -> list[Problem | None]:
        receipt = living.update([each.update for each in updates])
        return [None if seq else unknown(each) for each, seq in zip(updates, receipt.seqs, strict=True)]

    return write


def sent_to(catalog: RemoteCatalog) -> WriteUpdates:
    """Writes through a running server."""

    def write(updates: Sequence[UpdateRow]) -> list[Problem | None]:
        outcomes = catalog.update([remote_update(each.update) for each in updates])
        return [problem_of(each, outcome) for each, outcome in zip(updates, outcomes, strict=True)]

    return write


def problem_of(each: UpdateRow, outcome: Outcome) -> Problem | None:
    """The problem of an update that the server did not take."""
    if outcome.missing:
        return unknown(each)
    return refused_by_server(each.row, each.update.id, outcome) if outcome.fault else None


def unknown(each: UpdateRow) -> Problem:
    """The problem of an update of a product that is not in the catalog."""
    text = "there is no such product in the catalog; upsert it with its images"
    return Problem(each.row, ProblemKind.UNKNOWN_PRODUCT, text, each.update.id)
