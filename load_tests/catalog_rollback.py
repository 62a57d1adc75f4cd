"""Rollbacks of a large catalog under searches: how long until the earlier content is found, and what searches notice.

    python -m load_tests.catalog_rollback [--products 100000] [--dimension 256] [--work DIR]

Two rollbacks each of a catalog of which all products were replaced, and of one of which a few were: to the content of
before, and back again. A rollback counts from the call until the end of the first search that sees its revision. Parts
of a server in this process; random vectors. Prints one JSON object; exit code 1 when a rollback takes 2 s or longer, a
search fails or returns other products than those of its revision, or a content has another digest than before.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_scale.shop import CHUNK, Size, chunks, unit, write_shop
from sightline_server.access.own import own_pass
from sightline_server.app.catalogs import new_registry
from sightline_server.app.clock import clock
from sightline_server.app.living import open_living
from sightline_server.domain.revisions import Revision
from sightline_server.errors import SightlineError
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.living import LivingCatalog
from sightline_server.index.registry import Registry
from sightline_server.index.schema import CatalogRow
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics

NAME = "shop"
FEW = 1000
"""Products that the smaller change replaces."""
BOUND_S = 2.0
PAUSE_S = 0.05
"""Between the end of a search and the next one."""
SAME = 0.999
STALL_S = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A search: the revision that it was leased with, instants, and whether its answer is that of the revision."""

    revision: str
    began: float
    ended: float
    right: bool


@dataclass
class Figures:
    """One rollback that replaces `changed` products."""

    changed: int
    call_s: float = 0.0
    seen_s: float = math.inf
    """From the call until the end of the first search with the content."""
    searches: int = 0
    wrong: int = 0
    longest_search_s: float = 0.0
    same_digest: bool = False

    @property
    def kept(self) -> bool:
        """Returns whether the rollback is within its bounds."""
        return self.seen_s < BOUND_S and self.searches > 0 and not self.wrong and self.same_digest


@dataclass
class Searcher:
    """Searches for the first product by its vector of before and by that of after, `queries` float32 [2,D].

    `contents` says which of the two the content of a digest has.
    """

    registry: Registry
    queries: NDArray[np.float32]
    contents: dict[str, int] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Searches until it is cancelled."""
        while True:
            try:
                await self._search()
            except SightlineError as error:
                self.errors.append(error.message)
            await asyncio.sleep(PAUSE_S)

    async def _search(self) -> None:
        began = time.monotonic()
        with self.registry.lease(own_pass(NAME)) as snapshot:
            found = await snapshot.nearest(self.queries, 10)
            ended, digest = time.monotonic(), digest_in(snapshot.revision)
        near = [len(hits) == 10 and hits[0].similarity > SAME for hits in found]
        wanted = self.contents.get(digest)
        right = wanted is not None and near == [wanted == place for place in range(len(near))]
        self.seen.append(Seen(snapshot.revision, began, ended, right))

    async def first_with(self, digest: str) -> Seen:
        """The first search with the content of that digest."""
        async with asyncio.timeout(STALL_S):
            while True:
                if found := [each for each in self.seen if digest_in(each.revision) == digest]:
                    return found[0]
                await asyncio.sleep(PAUSE_S)


def digest_in(revision: str) -> str:
    """The beginning of the digest that is part of a revision's name."""
    return revision.rpartition("-")[2]


def replaced(size: Size, count: int) -> Iterator[list[CatalogRow]]:
    """The first `count` products with other vectors."""
    random = np.random.default_rng(1)
    for first, rows in enumerate(chunks(size)):
        if not (taken := rows[: max(0, count - first * CHUNK)]):
            return
        vectors = unit(random.standard_normal((len(taken), size.dimension), np.float32))
        yield [replace(row, embeddings=vector[None]) for row, vector in zip(taken, vectors, strict=True)]


def queries_of(size: Size) -> NDArray[np.float32]:
    """The vectors float32 [2,D] of the first product before and after."""
    return np.concatenate([next(chunks(size))[0].embeddings, next(replaced(size, CHUNK))[0].embeddings])


def write_both(folder: Path, size: Size, count: int) -> None:
    """A catalog of `size` as revision 1, and with `count` products replaced as the newest one."""
    write_shop(folder, size)
    with LivingCatalog(folder) as living:
        for rows in replaced(size, count):
            living.upsert(rows)
        living.checkpoint()


async def roll_back(folder: Path, size: Size, count: int) -> list[Figures]:
    """Goes back to revision 1, and then to the content of before that."""
    async with AsyncExitStack() as stack:
        registry, device = new_registry(stack, CatalogMetrics(Metrics()))
        opened = await stack.enter_async_context(open_living(folder, NAME, size.embedder, device, registry))
        writer = GroupWriter(NAME, opened.catalog, clock=clock)
        writer.start()
        stack.push_async_callback(writer.close)
        after, before = writer.revisions[0], writer.revisions[-1]
        contents = {digest_in(before.name): 0, digest_in(after.name): 1}
        searcher = Searcher(registry, queries_of(size), contents)
        searching = asyncio.create_task(searcher.run())
        figures = [await activated(writer, searcher, each, count) for each in (before, after)]
        searching.cancel()
        return figures


async def activated(writer: GroupWriter, searcher: Searcher, target: Revision, changed: int) -> Figures:
    """Activates `target`, and returns what that took."""
    await searcher.first_with(digest_in(writer.revisions[0].name))
    searcher.seen.clear()
    began, figures = time.monotonic(), Figures(changed)
    revision = await writer.activate(target.number)
    figures.call_s = round(time.monotonic() - began, 3)
    figures.same_digest = revision.digest == target.digest
    first = await searcher.first_with(digest_in(target.name))
    figures.seen_s = round(first.ended - began, 3)
    figures.searches = len(searcher.seen)
    figures.wrong = sum(not each.right for each in searcher.seen) + len(searcher.errors)
    figures.longest_search_s = round(max(each.ended - each.began for each in searcher.seen), 3)
    return figures


def play(work: Path, size: Size) -> list[Figures]:
    """The rollbacks of a catalog with a few products replaced, and with all."""
    found = []
    for count in (min(FEW, size.products), size.products):
        folder = work / f"shop-{count}"
        write_both(folder, size, count)
        found += asyncio.run(roll_back(folder, size, count))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.catalog_rollback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--work", type=Path, help="folder for the catalogs (default: a temporary one)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sightline-rollback-", dir=options.work) as work:
        found = play(Path(work), Size(options.products, options.dimension))
    kept = all(each.kept for each in found)
    print(json.dumps({"rollbacks": [asdict(each) for each in found], "bound_s": BOUND_S, "kept": kept}))
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
