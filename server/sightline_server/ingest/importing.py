"""A feed into a catalog that is served, through its writer.

    feed -> rows -> images embedded -> `CatalogWriter.upsert`, one group after the other -> one revision
Rule: a group that was acknowledged stays, whatever happens later; a cancelled import ends after the group that is being
written. Nothing here blocks the event loop: feeds are read in a thread.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice

from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import row_fault
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.building.rows import Build
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedded_rows import count_embedded, read_embedded
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.feeds.download import base_address, is_url
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import count_rows
from sightline_server.ingest.feeds.source import OpenFeed, feed_of, temporary
from sightline_server.ingest.guarded_download import guarded_download
from sightline_server.ingest.prepared import Keep
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.ingest.transfer_folders import TransferFolders, invalid
from sightline_server.ports import CatalogWriter

GROUP_ROWS = 64


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """Receives the progress: the number of rows of the feed, those read, those written by each group, and problems."""

    total: Callable[[int], None] = lambda count: None
    read: Callable[[int], None] = lambda count: None
    written: Callable[[int], None] = lambda count: None
    problem: Callable[[Problem], None] = lambda problem: None


class WriterSink:
    """`RowSink` of a catalog's writer, for vectors of `embedder` and so many `views` of each image; 0 is any number.

    A cancelled `add` returns once its group is written or refused.
    """

    def __init__(
        self, writer: CatalogWriter, written: Callable[[int], None], embedder: EmbedderSpec, views: int = 0
    ) -> None:
        self._writer = writer
        self._embedder = embedder
        self._written = written
        self.views = views
        self.products = 0

    async def add(self, rows: Sequence[CatalogRow]) -> None:
        """Writes a group of products. Raises as `CatalogWriter.upsert`."""
        if not rows:
            return
        embedded = [replace(row, embedder=self._embedder, views=self.views) for row in rows]
        write = asyncio.ensure_future(self._writer.upsert(embedded))
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            await write
            self._count(rows)
            raise
        self._count(rows)

    async def keep(self, image: bytes) -> str:
        """Keeps a file. Raises as `CatalogWriter.keep`."""
        kept = await self._writer.keep([image])
        return kept[0] if kept else ""

    @property
    def keep_features(self) -> Keep | None:
        """See `RowSink`."""
        return self._keep_one if self._writer.keeps_features else None

    async def _keep_one(self, features: bytes) -> str:
        kept = await self._writer.keep_features([features])
        return kept[0] if kept else ""

    def _count(self, rows: Sequence[CatalogRow]) -> None:
        self.products += len(rows)
        self._written(len(rows))


@asynccontextmanager
async def imported_feed(
    uri: str, folders: TransferFolders, options: FeedOptions, network: CheckedNetwork
) -> AsyncIterator[tuple[OpenFeed, FeedOptions]]:
    """The feed that a caller named, and how it is read.

    Raises `SightlineError` of kind INVALID_REQUEST where it may not be used, or is not a feed.
    """
    async with AsyncExitStack() as stack:
        if not is_url(uri):
            path = folders.feed_file(uri)
            file = stack.enter_context(path.open("rb"))
            # In a thread, because a packed feed is unpacked there.
            feed = await asyncio.to_thread(stack.enter_context, feed_of(file, path.name, path.parent, options))
            yield feed, options
            return
        if not folders.web:
            raise invalid("this server takes no feeds from web addresses (transfer.web)")
        downloaded = stack.enter_context(temporary())
        await guarded_download(uri, downloaded, options.limits, network)
        feed = await asyncio.to_thread(stack.enter_context, feed_of(downloaded, "the feed", None, options))
        yield feed, replace(options, base_url=base_address(uri))


async def import_feed(
    build: BuildOptions, embedder: EmbedderSpec, embed: Embed, writer: CatalogWriter, progress: ImportProgress
) -> int:
    """Writes the products of a feed, embedding their images, and returns how many.

    Raises `SightlineError`: INVALID_REQUEST where the feed cannot be read or has no usable row; the kinds of the engine
    and of the writer.
    """
    assert isinstance(build.feed, OpenFeed)
    progress.total(await asyncio.to_thread(count_rows, build.feed, build.feed_options))
    sink = WriterSink(writer, progress.written, embedder, writer.views)
    # Within the catalog's folder, which its writer can write to; the file has no name.
    with SeenImages(build.out.resolve(), embedder.dimension, sink.views) as seen:
        reported = Progress(rows=progress.read, problem=progress.problem)
        await Build(build, embedder, embed, sink, seen, reported).run()
    require_written(sink.products)
    return sink.products


async def import_embedded(feed: OpenFeed, options: FeedOptions, writer: CatalogWriter, progress: ImportProgress) -> int:
    """Writes the products of a feed whose embeddings are ready, and returns how many. Errors as `import_feed`."""
    progress.total(await asyncio.to_thread(count_embedded, feed, options))
    embedder = writer.embedder
    rows = read_embedded(feed, Target(embedder, writer.views), options)
    sink = WriterSink(writer, progress.written, embedder)
    done = 0
    with ThreadPoolExecutor(1, thread_name_prefix="import-feed") as reading:
        try:
            while group := await asyncio.get_running_loop().run_in_executor(reading, taken, rows):
                for problem in (each for each in group if isinstance(each, Problem)):
                    progress.problem(problem)
                await sink.add([each for each in group if isinstance(each, CatalogRow)])
                done += sum(1 for each in group if isinstance(each, CatalogRow) or each.skipped)
                progress.read(done)
        finally:
            # The thread may still read: the generator is closed behind its last step.
            reading.submit(rows.close)
    require_written(sink.products)
    return sink.products


def taken(rows: Iterator[CatalogRow | Problem]) -> list[CatalogRow | Problem]:
    """The next rows."""
    return list(islice(rows, GROUP_ROWS))


@dataclass(frozen=True, slots=True)
class Target:
    """The catalog that ready embeddings are for."""

    embedder: EmbedderSpec
    views: int = 1

    def fault(self, row: CatalogRow) -> str:
        """The reason why a product cannot be stored; empty when it can."""
        return row_fault(row, self.embedder.dimension)


def require_written(products: int) -> None:
    """Raises `SightlineError` of kind INVALID_REQUEST where no row could be used."""
    if not products:
        raise SightlineError(ErrorKind.INVALID_REQUEST, "no row of the feed can be used; the catalog is unchanged")
