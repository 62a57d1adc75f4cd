"""The feed of `sightline catalog upsert`, whether a folder or a running server takes it."""

from dataclasses import dataclass
from pathlib import Path

from sightline_server.ingest.feeds.options import FeedOptions


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """The input of `upsert`: a feed, and how its rows and images are read. `out` is the catalog that it goes into."""

    feed: str
    out: Path
    images: Path | None
    strict: bool
    private: bool
    options: FeedOptions
