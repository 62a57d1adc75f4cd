"""The build: feed rows in, one catalog out, which replaces an old one only as a whole. `building/` has its parts.

Rule: what fails, by a fault, by too many losses or by Ctrl-C, leaves no catalog behind, and an old one as it was.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.report import BuildReport, Progress
from sightline_server.ingest.building.rows import Build
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.groups import GROUP_ROWS, GROUPS_AHEAD
from sightline_server.ingest.prepared import Keep, in_thread
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.printed_text.reading import MakeTextReading

__all__ = [
    "GROUPS_AHEAD",
    "GROUP_ROWS",
    "BuildOptions",
    "BuildReport",
    "Progress",
    "build_catalog",
]

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
