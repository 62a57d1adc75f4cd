"""`sightline catalog upsert --target`: the feed is read here, and its images are embedded by the server.

Rule: no engine is started. Images are fetched as by an upsert into a folder, and sent as they are.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sightline_console.remote_catalog import RemoteCatalog
from sightline_server.cli.build_report import shown_progress
from sightline_server.cli.catalog_feed import FeedRequest
from sightline_server.ingest.building.sources import feed_name
from sightline_server.ingest.clients import Requests
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedded_rows import read_ready, sent_row
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feeds.download import base_address
from sightline_server.ingest.feeds.reader import count_rows
from sightline_server.ingest.feeds.source import opened_feed
from sightline_server.ingest.fetched import driven, fetched_rows
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.images import ImageLimits, ImageSource
from sightline_server.ingest.remote import RemoteUpsert
from sightline_server.ingest.upsert import UpsertReport


def sent_feed(request: FeedRequest, catalog: RemoteCatalog) -> UpsertReport:
    """Sends the rows of a feed with the bytes of their images. Errors as `upsert_feed`, and `RemoteError`."""
    options = replace(request.options, base_url="" if request.images else base_address(request.feed))
    with opened_feed(request.feed, options) as feed, shown_progress(count_rows(feed, options)) as progress, stoppable():
        source = ImageSource(
            request.images or feed.parent,
            ImageLimits(),
            requests=Requests(options.user_agent, options.headers),
            network=CheckedNetwork(HostCheck(allow_private=request.private)),
            notify=progress.waiting,
        )
        rows = driven(fetched_rows(read_feed(feed, options), source))
        return RemoteUpsert(progress, feed_name(feed), strict=request.strict).run(rows, catalog)


def sent_embedded(request: FeedRequest, catalog: RemoteCatalog) -> UpsertReport:
    """Sends products with ready embeddings. Errors as `upsert_rows`, and `RemoteError`."""
    with (
        opened_feed(request.feed, request.options) as feed,
        shown_progress(0) as progress,
        stoppable(),
    ):
        rows = read_ready(feed, sent_row, request.options)
        return RemoteUpsert(progress, feed.name, strict=request.strict).run(rows, catalog)


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends the block as it ends an upsert into a folder."""
    before = signal.signal(signal.SIGTERM, _cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cancel(number: int, frame: object) -> None:
    raise asyncio.CancelledError
