"""The rows of a feed -> embedded products in a sink, which is a new catalog or one that is served.

Rule: bounded whatever the feed's length. A few groups of rows are in progress at once; while one is embedded, the
images of the next are read and decoded.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Protocol

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest import guard
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.replaced import catalog_size
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.building.sources import feed_name, image_source
from sightline_server.ingest.catalog_rows import embedded, storable
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.groups import prepared_groups
from sightline_server.ingest.guard import Losses, Size
from sightline_server.ingest.preparation import Preparation
from sightline_server.ingest.prepared import Group, Keep
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.printed_text.reading import MakeTextReading


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
        """Keeps the file of an image for a row that is added later; see `prepared.Keep`."""

    @property
    def keep_features(self) -> Keep | None:
        """Keeps the local features of an image, as bytes, for a row that is added later; None where none are kept."""


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
