"""A catalog embedded by another embedder: its images into a cache, then a revision of a new generation.

    Reembedding (what is missing) -> EmbeddingRun -> EmbeddingCache -> Reembedding.prepare -> revision, not yet current
Rule: until `prepare` the catalog is only read, and may be written to by others. What was embedded stays in the cache
until a revision has it, so that a run that was interrupted is continued by the next one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sightline_server.catalog.revisions import Revision
from sightline_server.counting import counted
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.view_vectors import in_views
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.index.originals import KeptOriginals, image_key, stored_keys
from sightline_server.index.reembedding import EmbeddedImages, LeftOut, Reembedding
from sightline_server.index.schema import MAX_IMAGES
from sightline_server.ingest import guard
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.clients import Requests
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.guard import Losses
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.image_cache import CacheLimits, ImageCache
from sightline_server.ingest.images import ImageLimits, ImageSource
from sightline_server.ingest.reembed.cache import EmbeddingCache
from sightline_server.ingest.reembed.embedding_run import (
    Distinct,
    EmbeddingRun,
    ImagesOf,
    Parts,
    distinct_images,
    images_of,
)
from sightline_server.ingest.reembed.sources import StoredImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits


@dataclass(frozen=True, slots=True)
class ReembedOptions:
    """The sources of the images, and the losses that are allowed.

    Links that are paths lie below `images`, without which none is read. `cache` keeps downloads. With `skip_missing`
    products are left out whose images cannot be had, at most the share `max_lost` (0 to 1) of the products or images.
    """

    decode: DecodeLimits
    images: Path | None = None
    image_limits: ImageLimits = field(default_factory=ImageLimits)
    decode_threads: int = 2
    decode_processes: ProcessLimits = field(default_factory=ProcessLimits)
    requests: Requests = field(default_factory=Requests)
    cache: Path | None = None
    cache_limits: CacheLimits = field(default_factory=CacheLimits)
    allow_private_images: bool = False
    network: CheckedNetwork | None = None
    """The hosts that are asked, instead of `allow_private_images`."""
    skip_missing: bool = False
    max_lost: float = guard.MAX_LOST
    views: int | None = None
    """Views of each image, if unset as many as now."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The outcome of a run: `problems` in the order of the products, and the losses."""

    problems: tuple[Problem, ...]
    losses: Losses


class Reembed:
    """A context: one reembedding of the catalog at `path`, which has a log. `close` it from the thread that made it."""

    def __init__(self, path: Path, embedder: EmbedderSpec, options: ReembedOptions) -> None:
        """Reads the catalog. Raises `SightlineError` as `Reembedding`."""
        self.work = Reembedding(path, embedder, options.views)
        self._path = path
        self._options = options
        self._keys = stored_keys(path) if self.work.missing else {}
        self._distinct = self._distinct_images() if self.work.has_views else None

    def products(self) -> Iterator[ImagesOf]:
        """The products to embed."""
        return images_of(self.work.products(), self._keys, self._distinct)

    def _distinct_images(self) -> Distinct:
        originals = KeptOriginals(self._path)
        originals.open(())
        try:
            return distinct_images(self.work.products(), self._keys, originals.name)
        finally:
            originals.close()

    async def embed(self, cache: EmbeddingCache, embed: Embed, progress: Progress) -> Embedded:
        """Embeds what is missing into `cache`. Raises `SightlineError` as `EmbeddingRun.run`, and as `check`."""
        options = self._options
        downloads = ImageCache(options.cache, options.cache_limits, progress.waiting) if options.cache else None
        links = ImageSource(
            options.images,
            options.image_limits,
            requests=options.requests,
            network=options.network or CheckedNetwork(HostCheck(allow_private=options.allow_private_images)),
            cache=downloads,
            notify=progress.waiting,
        )
        originals = KeptOriginals(self._path)
        originals.open(())
        processes = DecodeProcesses(options.decode_processes)
        try:
            async with links:
                with ThreadPoolExecutor(options.decode_threads, thread_name_prefix="ingest-decode") as executor:
                    images = StoredImages(originals, links, local=options.images is not None)
                    threads = PhotoThreads(executor, processes)
                    parts = Parts(
                        *(images, originals, cache, threads, options.decode, self.work.embedder, embed, progress),
                        self.work.views,
                    )
                    run = EmbeddingRun(parts)
                    await run.run(self.products())
        finally:
            await processes.close()
            originals.close()
        self.check(run.losses)
        return Embedded(tuple(run.problems), run.losses)

    def check(self, losses: Losses) -> None:
        """Raises `SightlineError` of kind INVALID_REQUEST when so much was lost that no revision may be prepared."""
        options = self._options
        if not losses.images_lost:
            return
        stays = "no revision was prepared; what was embedded is kept for the next run"
        if losses.rows_lost == losses.rows and not self.work.reused:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"no image of any product can be had: {stays}")
        if not options.skip_missing:
            lost = f"{losses.images_lost} of {counted(losses.images, 'image')} cannot be had"
            message = (
                f"{lost}, and {counted(losses.rows_lost, 'product')} would be left out: {stays}. Run it again when the "
                "images can be had, or prepare the revision without them: --skip-missing"
            )
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)
        if lines := list(guard.losses(losses, options.max_lost, "products")):
            allowed = guard.percent(options.max_lost)
            message = (
                f"{'; '.join(lines)}, --max-lost allows {allowed}: {stays}. To prepare it all the same: --max-lost 100"
            )
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)

    def prepare(self, cache: EmbeddingCache, living: LivingCatalog, progress: Callable[[int], None]) -> Revision:
        """Makes the revision; `living` may be written to meanwhile. Raises as `Reembedding.prepare`."""
        with living.originals.held():
            revision = self.work.prepare(living.store, self._embedded(cache, living.originals, progress))
        cache.clear()
        return revision

    def _embedded(
        self, cache: EmbeddingCache, originals: KeptOriginals, progress: Callable[[int], None]
    ) -> Iterator[EmbeddedImages | LeftOut]:
        for product in self.products():
            found = [(image.link, cache.get(image.key)) for image in product.images]
            there = [(link, *known) for link, known in found if known is not None]
            if there:
                places, vectors = in_views([each for _, each, _ in there], MAX_IMAGES)
                links = tuple(there[place][0] for place in places)
                files = [there[place][2] for place in places]
                originals.link_images(list(zip(map(image_key, links, vectors), files, strict=True)))
                yield EmbeddedImages(product.id, links, vectors)
            elif self._options.skip_missing:
                yield LeftOut(product.id)
            progress(product.row)
