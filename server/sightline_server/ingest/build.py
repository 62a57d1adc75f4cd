"""The build: feed rows in, one catalog out.

Rule: bounded whatever the feed's length. A few groups of rows are on their way at once; while one is embedded, the
pictures of the next are read and decoded. What fails, by a fault or by Ctrl-C, leaves no catalog behind.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import CatalogFacts, CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.ingest.embedding import Embed, catalog_crop
from sightline_server.ingest.feed import FeedRow, Problem, ProblemKind, read_feed
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError
from sightline_server.stages.decode import DecodeLimits

GROUP_ROWS = 32
GROUPS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What to build from and how. Relative links lie below `images`, or below the feed's folder without it."""

    feed: Path
    out: Path
    decode: DecodeLimits
    images: Path | None = None
    strict: bool = False
    replace: bool = False
    image_limits: ImageLimits = field(default_factory=ImageLimits)
    decode_threads: int = 2


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What came of a build: products and pictures in the catalog, and every problem in the feed's order."""

    facts: CatalogFacts
    problems: tuple[Problem, ...]

    @property
    def products(self) -> int:
        """Products in the catalog."""
        return self.facts.products

    @property
    def images(self) -> int:
        """Pictures in the catalog."""
        return self.facts.vectors

    @property
    def skipped(self) -> tuple[Problem, ...]:
        """The rows that are not in the catalog, one problem each."""
        return tuple(problem for problem in self.problems if problem.skipped)

    @property
    def skipped_by_kind(self) -> Counter[ProblemKind]:
        """How many rows were skipped for what."""
        return Counter(problem.kind for problem in self.skipped)


@dataclass(frozen=True, slots=True)
class Progress:
    """Hears how a build goes on: `rows` of the feed done so far, and each problem once."""

    rows: Callable[[int], None] = lambda count: None
    problem: Callable[[Problem], None] = lambda problem: None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A row whose pictures were read: `crops` uint8 [h,w,3] of `links`, equally many and at least one."""

    row: FeedRow
    links: tuple[str, ...]
    crops: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows of the feed, prepared, and what was wrong with others; `rows` is their number together."""

    rows: int
    prepared: list[Prepared] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


async def build_catalog(
    options: BuildOptions, embedder: EmbedderSpec, embed: Embed, built_at: datetime, progress: Progress | None = None
) -> BuildReport:
    """Builds the catalog `options.out` and returns what came of it.

    Raises `SightlineError`: kind CONFIGURATION when the feed or the target cannot be used, INVALID_REQUEST when no row
    can be, or, with `strict`, at the first problem; the engine's own kinds when it fails. `options.out` is then as it
    was before.
    """
    progress = progress or Progress()
    problems: list[Problem] = []
    with CatalogWriter(options.out, embedder, replace=options.replace) as writer:
        done = 0
        async with aclosing(prepared_groups(options, embedder)) as groups:
            async for group in groups:
                for problem in sorted(group.problems, key=lambda problem: problem.row):
                    problems.append(problem)
                    progress.problem(problem)
                    if options.strict:
                        raise SightlineError(ErrorKind.INVALID_REQUEST, f"{options.feed.name}, {problem}")
                writer.add(await embedded(group.prepared, embed))
                done += group.rows
                progress.rows(done)
        if not writer.products:
            message = f"no row of {options.feed.name} can be used ({len(problems)} problems)"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)
        facts = writer.publish(built_at)
    return BuildReport(facts, tuple(problems))


async def prepared_groups(options: BuildOptions, embedder: EmbedderSpec) -> AsyncGenerator[Group]:
    """The feed in groups, in order, the next ones being prepared while the caller works on one."""
    root = options.images or options.feed.parent
    rows = read_feed(options.feed)
    ahead: list[asyncio.Task[Group]] = []
    with ThreadPoolExecutor(options.decode_threads, thread_name_prefix="ingest-decode") as threads:
        async with ImageSource(root, options.image_limits) as source:
            places = asyncio.Semaphore(options.image_limits.parallel)
            preparation = Preparation(source, options.decode, embedder, threads, places)
            try:
                while True:
                    while len(ahead) < GROUPS_AHEAD and (group := list(islice(rows, GROUP_ROWS))):
                        ahead.append(asyncio.create_task(preparation.group(group)))
                    if not ahead:
                        return
                    yield await ahead.pop(0)
            finally:
                for task in ahead:
                    task.cancel()
                await asyncio.gather(*ahead, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Reads and decodes the pictures of feed rows: decoding on `threads`, encoded pictures bounded by `places`."""

    source: ImageSource
    limits: DecodeLimits
    embedder: EmbedderSpec
    threads: Executor
    places: asyncio.Semaphore

    async def group(self, rows: Sequence[FeedRow | Problem]) -> Group:
        """The outcome of some rows, whose pictures are read side by side."""
        group = Group(len(rows), problems=[row for row in rows if isinstance(row, Problem)])
        usable = [row for row in rows if isinstance(row, FeedRow)]
        for prepared, problems in await asyncio.gather(*(self.row(row) for row in usable)):
            group.problems.extend(problems)
            if prepared is not None:
                group.prepared.append(prepared)
        return group

    async def row(self, row: FeedRow) -> tuple[Prepared | None, list[Problem]]:
        """One product with the pictures that can be read; None where none can."""
        outcomes = await asyncio.gather(*(self.crop(link) for link in row.images))
        pairs = list(zip(row.images, outcomes, strict=True))
        readable = [(link, crop) for link, crop in pairs if not isinstance(crop, UnreadableImageError)]
        failed = [f"{link}: {error}" for link, error in pairs if isinstance(error, UnreadableImageError)]
        if not readable:
            text = "; ".join(failed)
            return None, [Problem(row.row, ProblemKind.UNREADABLE_IMAGE, text, row.product.id)]
        kind = ProblemKind.UNREADABLE_IMAGE
        problems = [Problem(row.row, kind, text, row.product.id, skipped=False) for text in failed]
        return Prepared(row, tuple(link for link, _ in readable), tuple(crop for _, crop in readable)), problems

    async def crop(self, link: str) -> NDArray[np.uint8] | UnreadableImageError:
        """The crop of one picture, or why there is none."""
        loop = asyncio.get_running_loop()
        async with self.places:
            try:
                photo = await self.source.read(link)
                return await loop.run_in_executor(self.threads, catalog_crop, photo, self.limits, self.embedder)
            except UnreadableImageError as error:
                return error


async def embedded(prepared: Sequence[Prepared], embed: Embed) -> list[CatalogRow]:
    """The catalog rows of prepared ones; their pictures go to the engine together."""
    if not prepared:
        return []
    embeddings = await embed([crop for item in prepared for crop in item.crops])
    ends = np.cumsum([len(item.links) for item in prepared])
    parts = np.split(embeddings, ends[:-1])
    return [
        CatalogRow(item.row.product, item.row.price, item.links, part)
        for item, part in zip(prepared, parts, strict=True)
    ]
