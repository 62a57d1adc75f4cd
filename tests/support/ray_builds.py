"""Builds on Ray without Ray: a pool of workers in this process, with an embedder that counts what it gets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.ingest.build import BuildOptions, Progress
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feeds.source import opened_feed
from sightline_server.ingest.on_ray.build import RayReport, build_on_ray, images_root, sent_options
from sightline_server.ingest.on_ray.plan import Block
from sightline_server.ingest.on_ray.worker import Outcome, Work, Worker
from tests.support.catalogs import LIMITS, SPEC, shade_embed


@dataclass
class CountedEngine:
    """The engine of a worker; `before` is called before each batch, and may raise."""

    spec: EmbedderSpec = SPEC
    before: Callable[[], object] = lambda: None
    batches: list[int] = field(default_factory=list)
    started: int = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[tuple[EmbedderSpec, Embed]]:
        self.started += 1
        yield self.spec, self.embed

    async def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.before()
        self.batches.append(len(crops))
        return await shade_embed(crops)


@dataclass
class PoolHere:
    """`Pool` of workers in this process, which take turns. `after` is called after each outcome, and may raise."""

    members: list[Worker]
    after: Callable[[Outcome], object] = lambda outcome: None

    @property
    def workers(self) -> int:
        return len(self.members)

    def run(self, blocks: Iterable[Block]) -> Generator[Outcome, None, None]:
        for number, block in enumerate(blocks):
            outcome = self.members[number % len(self.members)].outcome(block)
            yield outcome
            self.after(outcome)


def build_here(
    feed: Path,
    *engines: CountedEngine,
    progress: Progress | None = None,
    after: Callable[[Outcome], object] = lambda outcome: None,
    **changes: Any,
) -> RayReport:
    """Builds `shop` next to `feed` with a worker for each of `engines`, through the checkpoint `shop.embedded`."""
    out = feed.parent / "shop"
    with opened_feed(feed) as source:
        options = BuildOptions(feed=source, out=out, decode=LIMITS, **changes)
        workers = [
            Worker(Work(sent_options(options), images_root(options), engine), lambda seconds: None)
            for engine in engines
        ]

        @contextmanager
        def connect() -> Iterator[PoolHere]:
            yield PoolHere(workers, after)

        try:
            folder = feed.parent / "shop.embedded"
            return build_on_ray(options, folder, connect, "", asyncio.run, progress or Progress())
        finally:
            for worker in workers:
                worker.close()
