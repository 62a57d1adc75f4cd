"""Imports, exports and reembeddings of a server that callers start: what they run, and the jobs that hold them."""

import asyncio
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline_server.app.in_thread import in_thread
from sightline_server.app.limits import catalog_limits, process_limits
from sightline_server.app.reembedding import noting, reembed_options, reembedding
from sightline_server.batching.background import Background
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.counting import counted
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.exports.export import ExportOptions, ExportReport, export_catalog
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.images import ImageLimits
from sightline_server.ingest.importing import ImportProgress, import_embedded, import_feed, imported_feed
from sightline_server.ingest.served_images import piece_size
from sightline_server.ingest.transfer_folders import TransferFolders
from sightline_server.jobs.job import Job, JobKind, JobResult
from sightline_server.jobs.jobs import Jobs
from sightline_server.jobs.progress import Tracker
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.catalog.transfer_requests import ExportRequest, ImportRequest, ReembedRequest
from sightline_server.settings import Settings

AGAIN_S = 0.05
NO_REEMBEDDING = (
    "a catalog in Milvus is not embedded again while it is served; stop the server, use `sightline catalog reembed` on "
    "its folder, and copy it with `sightline catalog push --writable`"
)
PATIENCE_S = 120.0
"""Seconds that an import waits for an engine that restarts."""


class ServedTransfers:
    """`rpc.catalog.Transfers` by the parts of a server. `jobs` is to be closed before the writers of the catalogs."""

    def __init__(self, settings: Settings, *, network: CheckedNetwork | None = None) -> None:
        """`network` is for tests; without it, feeds come from public addresses only."""
        part = settings.transfer
        self.jobs = Jobs(max_running=part.max_running)
        self._files = TransferFolders(part.import_folder, part.export_folder, part.web)
        self._settings = settings
        self.folders: Mapping[str, Path] = settings.catalog_folders
        """The folder of each catalog by its name; replaced where catalogs are created and deleted."""
        self.opened: Callable[[str], LivingCatalog] = unopened
        """The catalog of a name as its writer has opened it; replaced before the writers are published."""
        self.in_milvus: Container[str] = ()
        """The names of those that are searched in Milvus; replaced likewise."""
        self._network = network or CheckedNetwork(HostCheck())
        self._embedding: tuple[ServedEmbedders, Mapping[str, Embed]] | None = None

    def open(self, embedders: ServedEmbedders, embed_by: Mapping[str, Embed]) -> None:
        """Embeds images of imports from now on, by the identity of the catalog's embedder.

        Before that, no import can be started.
        """
        self._embedding = embedders, embed_by

    def start_import(self, writer: CatalogWriter, wanted: ImportRequest) -> Job:
        """See `Transfers`."""

        async def work(tracker: Tracker) -> JobResult:
            with public_errors({}):
                products = await self._import(writer, wanted, tracked(tracker))
                revision = await writer.checkpoint(f"import of {counted(products, 'product')}")
            return JobResult(products, revision=revision.name)

        return self.jobs.start(JobKind.IMPORT, writer.name, work)

    async def _import(self, writer: CatalogWriter, wanted: ImportRequest, progress: ImportProgress) -> int:
        async with imported_feed(wanted.uri, self._files, wanted.options, self._network) as (
            feed,
            options,
        ):
            if wanted.embedded:
                return await import_embedded(feed, options, writer, progress)
            assert self._embedding is not None, "opened before the writers are published"
            embedders, embed_by = self._embedding
            embedder = embedders.serving(writer.embedder)
            build = build_options(self._settings, feed, options, self.folders[writer.name])
            return await import_feed(build, embedder, embed_by[embedder.identity], writer, progress)

    def start_export(self, catalog: str, wanted: ExportRequest) -> Job:
        """See `Transfers`."""
        target = self._files.export_file(wanted.uri)
        if target.exists() and not wanted.replace:
            message = "uri: the file exists; choose another name, or set `replace`"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message, field="uri")
        options = ExportOptions(str(target), wanted.format, embeddings=wanted.embeddings, replace=wanted.replace)
        folder = self.folders[catalog]

        async def work(tracker: Tracker) -> JobResult:
            with public_errors({str(target): wanted.uri, str(folder): catalog}):
                report = await in_thread(lambda check: exported(folder, wanted.revision, options, tracker, check))
            return JobResult(report.products, report.images, report.revision)

        return self.jobs.start(JobKind.EXPORT, catalog, work)

    def start_reembedding(self, writer: CatalogWriter, wanted: ReembedRequest) -> Job:
        """See `Transfers`."""
        assert self._embedding is not None, "opened before the writers are published"
        embedders, embed_by = self._embedding
        if writer.name in self.in_milvus:
            raise SightlineError(ErrorKind.CONFIGURATION, f"parent: {NO_REEMBEDDING}", field="parent")
        try:
            embedder = embedders.named(wanted.embedder).spec
        except SightlineError as error:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"embedder: {error.message}", field="embedder") from error
        folder = self.folders[writer.name]
        options = reembed_options(self._settings, wanted, self._network)

        async def work(tracker: Tracker) -> JobResult:
            with public_errors({str(folder): writer.name}):
                return await reembedding(
                    folder, self.opened(writer.name), embedder, embed_by[embedder.identity], options, tracker
                )

        return self.jobs.start(JobKind.REEMBEDDING, writer.name, work)


def unopened(name: str) -> LivingCatalog:
    """The opened catalog of a server that has opened none. Raises `LookupError`."""
    raise LookupError(name)


def exported(
    folder: Path, revision: int | None, options: ExportOptions, tracker: Tracker, check: Callable[[], None]
) -> ExportReport:
    """Writes the file; blocking. `check` raises where the export was cancelled."""
    stored = stored_rows(folder, revision)
    tracker.expect(stored.facts.products)
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        check()
        tracker.read(count)
        tracker.written(count - done)
        done = count

    return export_catalog(stored, options, progress)


def tracked(tracker: Tracker) -> ImportProgress:
    """The progress of an import, in the tracker of its job."""
    return ImportProgress(tracker.expect, tracker.read, tracker.written, noting(tracker))


@contextmanager
def public_errors(names: Mapping[str, str]) -> Iterator[None]:
    """Turns errors of the operator's machine into those of a request: what is wrong with a feed is its caller's.

    `names` has what stands for paths of this machine in a message.
    """
    try:
        yield
    except SightlineError as error:
        message = error.message
        for path, name in names.items():
            message = message.replace(path, name)
        kind = ErrorKind.INVALID_REQUEST if error.kind is ErrorKind.CONFIGURATION else error.kind
        raise SightlineError(kind, message, field=error.field, retry_after_s=error.retry_after_s) from error


def batched_embed(
    spec: EmbedderSpec, crops: MicroBatcher[NDArray[np.uint8], NDArray[np.float32]], background: Background
) -> Embed:
    """`Embed` by the batcher of the searches, in turns of `background`, so that searches go first."""
    loop, size = asyncio.get_running_loop(), piece_size(spec)

    async def portion(images: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float32]]:
        ends = loop.time() + PATIENCE_S
        while True:
            try:
                async with background.turn():
                    return (await crops.submit(images, deadline=ends, lane=Lane.BATCH)).results
            except SightlineError as error:
                again = error.kind in (ErrorKind.OVERLOADED, ErrorKind.ENGINE_UNAVAILABLE)
                if not again or loop.time() + AGAIN_S > ends:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def embed(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        starts = range(0, len(images), size)
        return np.stack([vector for start in starts for vector in await portion(images[start : start + size])])

    return embed


def build_options(settings: Settings, feed: OpenFeed, options: FeedOptions, catalog: Path) -> BuildOptions:
    """The options of a served import: the limits of a build, images from public addresses and the feed's folder."""
    decode = catalog_limits(settings)
    return BuildOptions(
        feed,
        catalog,
        decode,
        feed_options=options,
        image_limits=ImageLimits(max_bytes=decode.max_bytes),
        decode_threads=1,
        decode_processes=process_limits(settings.decode),
    )
