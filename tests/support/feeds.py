"""Feeds for tests: a file of some bytes, and what is read from it."""

from pathlib import Path

from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, Problem, ProblemKind
from sightline_server.ingest.feeds.options import FeedOptions


def feed_file(folder: Path, content: str | bytes, name: str = "feed.csv") -> Path:
    """A feed with this content."""
    feed = folder / name
    feed.write_bytes(content.encode() if isinstance(content, str) else content)
    return feed


def rows_of(feed: Path, options: FeedOptions | None = None) -> list[FeedRow]:
    """The products of a feed that has no problems."""
    rows = list(read_feed(feed, options))
    assert all(isinstance(row, FeedRow) for row in rows), rows
    return [row for row in rows if isinstance(row, FeedRow)]


def products_of(feed: Path, options: FeedOptions | None = None) -> list[str]:
    """The ids of a feed's products."""
    return [row.product.id for row in read_feed(feed, options) if isinstance(row, FeedRow)]


def problems_of(feed: Path, options: FeedOptions | None = None) -> list[Problem]:
    """The problems of a feed, warnings among them."""
    return [row for row in read_feed(feed, options) if isinstance(row, Problem)]


def skipped_rows(feed: Path, options: FeedOptions | None = None) -> list[tuple[int, ProblemKind]]:
    """The row and the kind of each problem that costs its row."""
    return [(problem.row, problem.kind) for problem in problems_of(feed, options) if problem.skipped]


def warnings_of(feed: Path, options: FeedOptions | None = None) -> list[tuple[int, ProblemKind]]:
    """The row and the kind of each warning."""
    return [(problem.row, problem.kind) for problem in problems_of(feed, options) if not problem.skipped]
