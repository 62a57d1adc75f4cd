"""A feed, or products with ready embeddings, into a catalog that exists.

Rule: each group of rows is durable before the next one is read. What is wrong with a row is a `Problem` of that row;
groups that were written stay written, whatever happens later.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.building.rows import Build
from sightline_server.ingest.building.sources import feed_name
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem
from sightline_server.ingest.prepared import Keep, in_thread
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.printed_text.reading import MakeTextReading

GROUP_ROWS = 256


@dataclass(frozen=True, slots=True)
class UpsertReport:
    """The outcome: products written, and every problem in the order of the rows."""

    products: int
    problems: tuple[Problem, ...]

    @property
    def skipped(self) -> int:
        """Rows that were not written."""
        return sum(problem.skipped for problem in self.problems)


class LivingSink:
    """`RowSink` that writes to a catalog that is served."""

    def __init__(self, living: LivingCatalog) -> None:
        self._living = living
        self.products = 0

    @property
    def views(self) -> int:
        """See `RowSink`."""
        return self._living.views

    async def add(self, rows: Sequence[CatalogRow]) -> None:
        """Writes a group of products."""
        self.write(rows)

    async def keep(self, image: bytes) -> str:
        """Keeps a file."""
        originals = self._living.originals
        return await asyncio.to_thread(originals.add, image) if originals.kept else ""

    @property
    def keep_features(self) -> Keep | None:
        """See `RowSink`."""
        features = self._living.features
        return in_thread(features.add) if features.kept else None

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """Writes a group of products; blocking."""
        if rows:
            self._living.upsert(rows)
            self.products += len(rows)


async def upsert_feed(
    options: BuildOptions,
    embedder: EmbedderSpec,
    embed: Embed,
    living: LivingCatalog,
    progress: Progress,
    read_text: MakeTextReading | None = None,
) -> UpsertReport:
    """Writes the rows of a feed, embedding their images.

    Raises `SightlineError`: kind CONFIGURATION when the feed cannot be read or `embedder` is not the catalog's,
    INVALID_REQUEST when no row can be used or, with `strict`, at the first problem; the engine's own kinds.
    """
    living.require_embedder(embedder)
    sink = LivingSink(living)
    with SeenImages(options.out.resolve().parent, embedder.dimension, living.views) as seen:
        build = Build(options, embedder, embed, sink, seen, progress, read_text)
        await build.run()
    require_products(sink.products, len(build.problems), feed_name(options.feed))
    return UpsertReport(sink.products, tuple(build.problems))


def upsert_rows(
    rows: Iterable[CatalogRow | Problem], living: LivingCatalog, progress: Progress, name: str, *, strict: bool = False
) -> UpsertReport:
    """Writes products whose embeddings are ready. Errors as `upsert_feed`."""
    sink, problems = LivingSink(living), list[Problem]()
    source = iter(rows)
    while group := list(islice(source, GROUP_ROWS)):
        for problem in (each for each in group if isinstance(each, Problem)):
            problems.append(problem)
            progress.problem(problem)
            if strict:
                raise SightlineError(ErrorKind.INVALID_REQUEST, f"{name}, {problem}")
        sink.write([each for each in group if isinstance(each, CatalogRow)])
    require_products(sink.products, len(problems), name)
    return UpsertReport(sink.products, tuple(problems))


def require_products(products: int, problems: int, name: str) -> None:
    """Raises `SightlineError` of kind INVALID_REQUEST when nothing was written."""
    if not products:
        message = f"no row of {name} can be used ({problems} problems); the catalog is unchanged"
        raise SightlineError(ErrorKind.INVALID_REQUEST, message)
