"""Feeds of every format -> records, one at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from sightline_server.ingest.feeds.delimited import read_delimited
from sightline_server.ingest.feeds.formats import Format
from sightline_server.ingest.feeds.json_objects import read_json
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.parquet import count_parquet, read_parquet
from sightline_server.ingest.feeds.records import Record, refused
from sightline_server.ingest.feeds.source import OpenFeed, opened_feed
from sightline_server.ingest.feeds.xml_items import read_xml

READERS: Mapping[Format, Callable[[BinaryIO, str, FeedOptions], Iterator[Record]]] = {
    Format.DELIMITED: read_delimited,
    Format.JSON: read_json,
    Format.XML: read_xml,
    Format.PARQUET: read_parquet,
}


UNREADABLE = (OSError, ValueError, OverflowError, LookupError, pa.ArrowException)
"""The exceptions of libraries about a damaged file."""


def read_records(feed: OpenFeed | Path, options: FeedOptions | None = None) -> Iterator[Record]:
    """The rows of `feed`, in order, always from the first one.

    Raises `SightlineError` of kind CONFIGURATION when the feed as a whole cannot be read.
    """
    options = options or FeedOptions()
    with nullcontext(feed) if isinstance(feed, OpenFeed) else opened_feed(feed, options) as source:
        source.file.seek(0)
        try:
            yield from READERS[source.format](source.file, source.name, options)
        except UNREADABLE as error:
            raise refused(f"{source.name} cannot be read: {type(error).__name__}") from error


def count_rows(feed: OpenFeed | Path, options: FeedOptions | None = None) -> int:
    """The number of rows of `feed`, for a progress bar. Raises as `read_records`."""
    if isinstance(feed, OpenFeed) and feed.format is Format.PARQUET:
        try:
            return count_parquet(feed.file)
        except UNREADABLE:
            return 0
    return sum(1 for record in read_records(feed, options) if not record.notice)
