"""The build: feed rows in, one catalog out.

Rule: bounded whatever the feed's length. A few groups of rows are in progress at once; while one is embedded, the
images of the next are read and decoded. What fails, by a fault, by too many losses or by Ctrl-C, leaves no catalog
behind.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sightline_server.catalog.content import is_living
from sightline_server.catalog.originals import FEATURE_FILES, keeps_originals
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import read_facts
from sightline_server.index.image_counts import image_count
from sightline_server.index.schema import CatalogFacts, CatalogRow
from sightline_server.index.stored_rows import stored_rows
from sightline_server.index.writer import CatalogWriter
from sightline_server.ingest import guard
from sightline_server.ingest.catalog_rows import embedded, storable
from sightline_server.ingest.clients import Requests
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed import Problem, ProblemKind, read_feed
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.guard import Losses, Size
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.image_cache import CacheLimits, ImageCache
from sightline_server.ingest.images import ImageLimits, ImageSource
from sightline_server.ingest.link_secrets import masked_link
from sightline_server.ingest.preparation import (
    GROUP_ROWS,
    GROUPS_AHEAD,
    Group,
    Keep,
    Preparation,
    in_thread,
    prepared_groups,
)
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.printed_text.reading import MakeTextReading
from sightline_server.stages.processes.process import ProcessLimits

__all__ = ["GROUPS_AHEAD", "GROUP_ROWS", "BuildOptions", "BuildReport", "Progress", "build_catalog"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The inputs and the options of a build.

    Relative links lie below `images`, or below the feed's folder without it. `max_lost` and `max_shrink` are shares
    (0 to 1) that a catalog may lose when it is replaced; a `max_lost` that is given also holds for a first build.
    `cache` is the folder of the download cache; none is kept without it. Images are fetched from public hosts only,
    unless `allow_private_images` is set. `keep_originals` makes a built catalog keep the original files of its
    images, or not; None means what the catalog that is replaced does.
    So does `local_features` for the local features of the images, which are also kept where the embedder's
    configuration says so, and `views` for the number of views of each image; without a catalog that is replaced it is
    `default_views`.
    """

    feed: Path | OpenFeed
    out: Path
    decode: DecodeLimits
    images: Path | None = None
    feed_options: FeedOptions = field(default_factory=FeedOptions)
    strict: bool = False
    replace: bool = False
    image_limits: ImageLimits = field(default_factory=ImageLimits)
    decode_threads: int = 2
    decode_processes: ProcessLimits = field(default_factory=ProcessLimits)
    max_lost: float | None = None
    max_shrink: float = guard.MAX_SHRINK
    requests: Requests = field(default_factory=Requests)
    cache: Path | None = None
    cache_limits: CacheLimits = field(default_factory=CacheLimits)
    allow_private_images: bool = False
    keep_originals: bool | None = None
    local_features: bool | None = None
    views: int | None = None
    default_views: int = ONE_VIEW

    @property
    def keeps_originals(self) -> bool:
        """True where the catalog keeps the original files of its images."""
        kept = self.keep_originals
        return self.replace and keeps_originals(self.out) if kept is None else kept

    def for_embedder(self, embedder: EmbedderSpec) -> "BuildOptions":
        """These options, with local features where the configuration of `embedder` says so and no option does."""
        if self.local_features is not None:
            return self
        return replace(self, local_features=self.keeps_features or embedder.search.local_features)

    @property
    def keeps_features(self) -> bool:
        """True where the catalog keeps the local features of its images."""
        kept = self.local_features
        return self.replace and keeps_originals(self.out, FEATURE_FILES) if kept is None else kept

    @property
    def image_views(self) -> int:
        """The views of each image of the catalog that is built."""
        if self.views is not None:
            return self.views
        replaced = facts_at(self.out) if self.replace else None
        return self.default_views if replaced is None else replaced.views


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The outcome of a build: products and images in the catalog, every problem in the feed's order, and the losses."""

    facts: CatalogFacts
    problems: tuple[Problem, ...]
    losses: Losses = field(default_factory=Losses)
    same_images: int = 0
    """The least number of links that lead to the most frequent image."""
    counted_images: int | None = None
    """The number of images in the catalog, where that is not the number of its vectors."""

    @property
    def products(self) -> int:
        """Products in the catalog."""
        return self.facts.products

    @property
    def images(self) -> int:
        """Images in the catalog; they may have more vectors."""
        return self.facts.vectors if self.counted_images is None else self.counted_images

    @property
    def skipped(self) -> tuple[Problem, ...]:
        """The rows that are not in the catalog, one problem each."""
        return tuple(problem for problem in self.problems if problem.skipped)

    @property
    def skipped_by_kind(self) -> Counter[ProblemKind]:
        """The number of skipped rows by the kind of their problem."""
        return Counter(problem.kind for problem in self.skipped)


@dataclass(frozen=True, slots=True)
class Progress:
    """Receives the progress of a build: `rows` of the feed done so far, each problem once, and each wait for a host."""

    rows: Callable[[int], None] = lambda count: None
    problem: Callable[[Problem], None] = lambda problem: None
    waiting: Callable[[str], None] = lambda text: None


Known = Callable[[SeenImages, SameImages], None]
"""Adds the images that were embedded before a build began, which neither reads nor embeds them again."""


async def build_catalog(
    options: BuildOptions,
    embedder: EmbedderSpec,
    embed: Embed,
    built_at: datetime,
    progress: Progress | None = None,
    known: Known | None = None,
    read_text: MakeTextReading | None = None,
) -> BuildReport:
    """Builds the catalog `options.out` and returns the outcome.

    `read_text` reads the text of images in a catalog that keeps local features.

    Raises `SightlineError`: kind CONFIGURATION when the feed or the target cannot be used, INVALID_REQUEST when no row
    can be, when too much was lost, or, with `strict`, at the first problem; the engine's own kinds when it fails.
    `options.out` is then as it was before.
    """
    options = options.for_embedder(embedder)
    views = options.image_views
    with (
        CatalogWriter(
            options.out,
            embedder,
            replace=options.replace,
            keep_originals=options.keeps_originals,
            local_features=options.keeps_features,
            views=views,
        ) as writer,
        SeenImages(options.out.resolve().parent, embedder.dimension, views) as seen,
    ):
        build = Build(options, embedder, embed, BuiltSink(writer), seen, progress or Progress(), read_text)
        if known is not None:
            known(seen, build.same)
        await build.run()
        build.check()
        facts = writer.publish(built_at)
    return BuildReport(facts, tuple(build.problems), build.losses, build.same.most, build.images)


class RowSink(Protocol):
    """Takes the rows of a feed."""

    @property
    def products(self) -> int:
        """The number of products that were added."""

    @property
    def views(self) -> int:
        """The views of each image that rows have embeddings of."""

    async def add(self, rows: Sequence[CatalogRow]) -> None:
        """Adds products, each with an embedding for each view of an image."""

    async def keep(self, image: bytes) -> str:
        """Keeps the file of an image for a row that is added later; see `preparation.Keep`."""

    @property
    def keep_features(self) -> Keep | None:
        """Keeps the local features of an image, as bytes, for a row that is added later; None where none are kept."""


class BuiltSink:
    """`RowSink` of a catalog that is built."""

    def __init__(self, writer: CatalogWriter) -> None:
        self._writer = writer

    @property
    def products(self) -> int:
        """The number of products that were added."""
        return self._writer.products

    @property
    def views(self) -> int:
        """See `RowSink`."""
        return self._writer.views

    async def add(self, rows: Sequence[CatalogRow]) -> None:
        """Adds products."""
        self._writer.add(rows)

    async def keep(self, image: bytes) -> str:
        """Keeps a file."""
        return await asyncio.to_thread(self._writer.originals.add, image) if self._writer.originals.kept else ""

    @property
    def keep_features(self) -> Keep | None:
        """See `RowSink`."""
        return in_thread(self._writer.features.add) if self._writer.features.kept else None


class Build:
    """One build in progress: the rows that were written, and the losses."""

    def __init__(
        self,
        options: BuildOptions,
        embedder: EmbedderSpec,
        embed: Embed,
        writer: RowSink,
        seen: SeenImages,
        progress: Progress,
        read_text: MakeTextReading | None = None,
    ) -> None:
        self._options = options
        self._embedder = embedder
        self._embed = embed
        self._writer = writer
        self._seen = seen
        self._progress = progress
        self._read_text = read_text
        self._old = catalog_size(options.out) if options.replace else None
        self.images = 0
        self._done = 0
        self.problems: list[Problem] = []
        self.losses = Losses()
        self.same = SameImages()

    async def run(self) -> None:
        """Reads the feed and writes its rows."""
        options = self._options
        source = image_source(options, options.images or options.feed.parent, self._progress.waiting)
        groups = prepared_groups(
            read_feed(options.feed, options.feed_options),
            source,
            options.decode,
            self._embedder,
            self._seen,
            self.same,
            options.decode_threads,
            options.decode_processes,
            self._writer.keep,
            self._writer.keep_features,
            self._writer.views,
            self._read_text,
        )
        async with source, aclosing(groups):
            async for group, preparation in groups:
                await self._add(group, preparation)

    def check(self) -> None:
        """Raises `SightlineError` of kind INVALID_REQUEST when the written catalog may not be published."""
        options = self._options
        if not self._writer.products:
            stays = "; the old catalog stays" if self._old else ""
            message = f"no row of {feed_name(options.feed)} can be used ({len(self.problems)} problems){stays}"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)
        max_lost = options.max_lost
        if max_lost is None and self._old is not None:
            max_lost = guard.MAX_LOST
        new = Size(self._writer.products, self.images)
        lost = list(guard.losses(self.losses, max_lost)) if max_lost is not None else []
        shrunk = list(guard.shrinking(self._old, new, options.max_shrink)) if self._old else []
        if lost or shrunk:
            outcome = "was not replaced, the old catalog stays" if self._old else "was not built"
            kinds = Counter(problem.kind.value for problem in self.problems)
            problems = "".join(f"\n  {count} problems: {kind}" for kind, count in kinds.most_common())
            reasons = guard.refusal(lost, shrunk, max_lost or 0.0, options.max_shrink)
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"{options.out} {outcome}:{problems}{reasons}")

    async def _add(self, group: Group, preparation: Preparation) -> None:
        """Embeds and writes a group, and reports the problems of its rows."""
        self._report(group.problems)
        vectors = await embedded(group.prepared, self._embed, self._seen)
        for item in group.prepared:
            for image in item.images:
                preparation.embedded(image.key)
        good, problems = storable(group.prepared, vectors, self._embedder.dimension)
        self._report(problems)
        await self._writer.add(good)
        stored = {row.product.id for row in good}
        images = sum(len(item.images) for item in group.prepared if item.product.id in stored)
        lost_images = sum(len(item.images) for item in group.prepared) - images
        self.losses += group.losses + Losses(rows_lost=len(problems), images_lost=lost_images)
        self.images += images
        self._done += group.rows
        self._progress.rows(self._done)

    def _report(self, problems: Sequence[Problem]) -> None:
        for problem in sorted(problems, key=lambda problem: problem.row):
            self.problems.append(problem)
            self._progress.problem(problem)
            if self._options.strict:
                message = f"{feed_name(self._options.feed)}, {problem}"
                raise SightlineError(ErrorKind.INVALID_REQUEST, message)


def image_source(options: BuildOptions, root: Path | None, notify: Callable[[str], None]) -> ImageSource:
    """The source of the images of a build, whose relative links lie below `root`."""
    return ImageSource(
        root,
        options.image_limits,
        requests=options.requests,
        network=CheckedNetwork(HostCheck(allow_private=options.allow_private_images)),
        cache=ImageCache(options.cache, options.cache_limits, notify) if options.cache else None,
        notify=notify,
    )


def feed_name(feed: Path | OpenFeed) -> str:
    """The feed's name as messages show it."""
    return masked_link(feed.name)


def catalog_size(out: Path) -> Size | None:
    """The size of the catalog at `out`; None where there is none, 0 products where it cannot be read."""
    if not (out / "_versions").is_dir() and not is_living(out):
        return None
    try:
        stored = stored_rows(out)
        return Size(stored.facts.products, image_count(stored))
    except SightlineError:
        return Size(0, 0)


def facts_at(out: Path) -> CatalogFacts | None:
    """The facts of the catalog at `out`; None where there is none, or it cannot be read."""
    try:
        return read_facts(out)
    except SightlineError:
        return None
