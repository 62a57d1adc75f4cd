"""The living catalog with its vectors on the GPU: `python -m load_tests.gpu.living`.

A catalog is built, opened by the server's own code, and written to in rounds: products are added, replaced, changed and
deleted, among them all those nearest to a query; a merge makes a new base; a rollback undoes it. After each round it is
searched, with and without filters, and every answer is compared with a matrix product by numpy.
Rule: an answer is judged by the ids that come back. `wrong_ids` counts products that were deleted, that a filter
excludes, that are outdated or that appear twice; the step fails for any.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_scale.reading import percentiles
from load_tests.gpu.results import common_options, publish, say
from load_tests.gpu.vectors import unit_queries
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.filters import Filter
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import library_facts
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.view import LiveView
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.ports import Snapshot

K = 10
BRANDS = {"half": "0.5", "twentieth": "0.05", "thousandth": "0.001"}
"""Name of a filter -> the brand that it asks for; the brand says the share of the products that have it."""
SAME = 2e-3
"""Difference of similarities that float16 on the GPU may confuse among random vectors of 256 numbers."""
HOT = 3000
"""Products deleted around one query: more than the 2,048 vectors that FAISS on a GPU returns at most."""
BATCH = 32
QUERIES = 64
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Written:
    """A product as it was written last."""

    title: str
    brand: str
    in_stock: bool
    vector: NDArray[np.float32] = field(repr=False)


class Model:
    """The products that the catalog must hold, by id, and the nearest of them by numpy."""

    def __init__(self, rows: int, dimension: int) -> None:
        self.dimension = dimension
        vectors = stored(unit_queries(rows, dimension, seed=11))
        shares = np.random.default_rng(12).random(rows)
        self.products = {
            f"p{number}": Written("built", brand_of(shares[number]), True, vectors[number]) for number in range(rows)
        }

    def nearest(
        self, queries: NDArray[np.float32], allowed: Callable[[Written], bool]
    ) -> tuple[set[str], NDArray[np.float32]]:
        """The ids that `allowed` lets through, and the similarities of the nearest of them, descending [Q,K]."""
        found = {name: each.vector for name, each in self.products.items() if allowed(each)}
        if not found:
            return set(), np.empty((len(queries), 0), np.float32)
        similarities = queries @ np.stack(list(found.values())).T
        width = min(K, len(found))
        best = -np.partition(-similarities, width - 1, axis=1)[:, :width]
        return set(found), -np.sort(-best, axis=1)

    def near(self, query: NDArray[np.float32], count: int) -> list[str]:
        """The ids of the products nearest to `query`."""
        names = list(self.products)
        similarities = np.stack([self.products[name].vector for name in names]) @ query
        return [names[place] for place in np.argsort(-similarities)[:count]]


@dataclass(slots=True)
class Tally:
    """The outcome of one kind of search: numbers of answers, of what was wrong in them, and milliseconds."""

    plan: str = ""
    answers: int = 0
    wrong_ids: int = 0
    too_few: int = 0
    recall: float = 0.0
    single_ms: tuple[float, float] = (0.0, 0.0)
    """p50 and p99 of searches with one query."""
    batch_ms: tuple[float, float] = (0.0, 0.0)
    """The same with 32 queries."""

    def facts(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "plan": self.plan,
            "answers": self.answers,
            "wrong_ids": self.wrong_ids,
            "too_few": self.too_few,
            "recall_at_10": round(self.recall, 4),
            "p50_ms": self.single_ms[0],
            "p99_ms": self.single_ms[1],
            "batch_p50_ms": self.batch_ms[0],
            "batch_p99_ms": self.batch_ms[1],
        }


def main() -> int:
    """Writes and searches; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.living", description=__doc__)
    common_options(parser)
    parser.add_argument("--rows", type=int, help="products of the catalog; default 100,000, with --cpu 20,000")
    parser.add_argument("--dimension", type=int, default=256, help="numbers of a vector")
    arguments = parser.parse_args()
    library = library_facts()
    if not arguments.cpu and not library.gpus:
        say(f"living: faiss {library.version} ({library.flavour}) sees no GPU; for the small CPU mode: --cpu")
        return 2
    rows = arguments.rows or (20_000 if arguments.cpu else 100_000)
    folder = Path(tempfile.mkdtemp(prefix="sightline-living-"))
    try:
        figures = asyncio.run(Shop(folder / "shop", rows, arguments.dimension).run())
    finally:
        shutil.rmtree(folder)
    wrong = sum(each["wrong_ids"] + each["too_few"] for kinds in figures["rounds"].values() for each in kinds.values())
    facts = {"library": f"faiss {library.version} ({library.flavour})", "wrong": wrong, **figures}
    publish("living", facts, cpu=arguments.cpu, out=arguments.out)
    return 1 if wrong else 0


class Shop:
    """One catalog of `rows` products that is written to and searched."""

    def __init__(self, path: Path, rows: int, dimension: int) -> None:
        self._path = path
        self._spec = EmbedderSpec("synthetic", "1", 224, 224, dimension, sha256="5c" * 32)
        self._model = Model(rows, dimension)
        self._queries = unit_queries(QUERIES, dimension, seed=13)
        self._random = np.random.default_rng(14)
        self._rounds: dict[str, dict[str, Any]] = {}
        self._seconds: dict[str, float] = {}

    async def run(self) -> dict[str, Any]:
        """All rounds."""
        self._timed("build", self._build)
        device = DeviceThread()
        live = LiveIndex(self._path, "shop", self._spec, device)
        try:
            with LivingCatalog(self._path, store=CatalogStore(self._path, published=live)) as living:
                self._timed("open", live.open)
                await self._play(live, living)
                live.close()
        finally:
            index = live.view().state.base.index.description
            await live.view().close()
            device.close()
        return {"index": index, "products": len(self._model.products), "seconds": self._seconds, "rounds": self._rounds}

    async def _play(self, live: LiveIndex, living: LivingCatalog) -> None:
        await self._check("built", live.view())
        built = living.checkpoint("built")
        before = dict(self._model.products)
        self._timed("upsert", lambda: self._upsert(living))
        self._timed("update", lambda: self._update(living))
        self._timed("delete", lambda: self._delete(living, self._model.near(self._queries[0], HOT)))
        await self._check("written", live.view())
        merged, unmerged = max(10_000, len(self._model.products) // 10), live.view().state
        self._timed("delete many", lambda: self._delete(living, self._some(merged)))
        self._timed("merge", live.join)
        if live.view().state is unmerged:  # what was deleted while it ran is dead in the new base
            raise RuntimeError("no merge has made a new base")
        await self._check("merged", live.view())
        self._timed("rollback", lambda: living.store.rollback(built.number))
        self._model.products = before
        await self._check("rolled back", live.view())

    def _build(self) -> None:
        names = list(self._model.products)
        with CatalogWriter(self._path, self._spec, replace=False) as writer:
            for first in range(0, len(names), CHUNK):
                writer.add([self._row(name) for name in names[first : first + CHUNK]])
            writer.publish(datetime.now(UTC))

    def _upsert(self, living: LivingCatalog) -> None:
        """Replaces products by others with the same id, and adds some near the queries."""
        replaced = self._some(1000)
        added = [f"new{number}" for number in range(1000)]
        steps = unit_queries(len(added), self._model.dimension, seed=15)
        near = self._queries[np.arange(len(added)) % QUERIES] + 0.8 * steps
        vectors = [*unit_queries(len(replaced), self._model.dimension, seed=16), *near]
        for name, vector in zip([*replaced, *added], vectors, strict=True):
            rounded = stored(vector[np.newaxis])[0]
            self._model.products[name] = Written("written", brand_of(self._random.random()), True, rounded)
        living.upsert([self._row(name) for name in (*replaced, *added)])

    def _update(self, living: LivingCatalog) -> None:
        """Sells out products near the queries, which are not embedded again."""
        sold = list(dict.fromkeys(name for query in self._queries for name in self._model.near(query, 5)))
        for name in sold:
            each = self._model.products[name]
            self._model.products[name] = Written("sold", each.brand, False, each.vector)
        living.update([ProductUpdate(name, {"title": "sold", "availability": "out_of_stock"}) for name in sold])

    def _delete(self, living: LivingCatalog, names: Sequence[str]) -> None:
        for name in names:
            del self._model.products[name]
        for first in range(0, len(names), CHUNK):
            living.delete(names[first : first + CHUNK])

    def _some(self, count: int) -> list[str]:
        """Ids drawn among those that are there."""
        names = list(self._model.products)
        return [names[place] for place in self._random.choice(len(names), count, replace=False)]

    def _row(self, name: str) -> CatalogRow:
        each = self._model.products[name]
        stock = "in_stock" if each.in_stock else "out_of_stock"
        product = Product(name, title=each.title, brand=each.brand, availability=stock)
        return CatalogRow(product, None, (f"{name}.jpg",), each.vector[np.newaxis])

    async def _check(self, name: str, view: LiveView) -> None:
        say(f"living: {name}, {view.product_count} products, {view.extent.dead_base} dead in the base")
        kinds = {"all": await self._search(view, lambda _each: True)}
        for share, brand in BRANDS.items():
            kinds[share] = await self._search(await view.select(Filter(brands=(brand,))), of_brand(brand))
        in_stock = await view.select(Filter(availabilities=("in_stock",)))
        kinds["in stock"] = await self._search(in_stock, lambda each: each.in_stock)
        self._rounds[name] = {kind: tally.facts() for kind, tally in kinds.items()}

    async def _search(self, snapshot: Snapshot, allowed: Callable[[Written], bool]) -> Tally:
        """Every query alone and in batches, compared with numpy."""
        ids, expected = self._model.nearest(self._queries, allowed)
        tally = Tally("all" if snapshot.applied_filter is None else snapshot.applied_filter.plan.kind.value)
        await snapshot.nearest(self._queries, K)
        for size, name in ((1, "single_ms"), (BATCH, "batch_ms")):
            taken = []
            for first in range(0, QUERIES, size):
                began = time.perf_counter()
                found = await snapshot.nearest(self._queries[first : first + size], K)
                taken.append((time.perf_counter() - began) * 1e3)
                for place, neighbours in enumerate(found, first):
                    self._judge(snapshot, neighbours, ids, expected[place], tally)
            setattr(tally, name, percentiles(taken))
        tally.recall /= max(1, tally.answers)
        return tally

    def _judge(
        self, snapshot: Snapshot, found: Sequence[Any], ids: set[str], expected: NDArray[np.float32], tally: Tally
    ) -> None:
        tally.answers += 1
        tally.too_few += len(found) < len(expected)
        titles = [each.title for each in snapshot.products([one.row for one in found])]
        names = [each.product_id for each in found]
        right = [
            name in ids and self._model.products[name].title == title for name, title in zip(names, titles, strict=True)
        ]
        tally.wrong_ids += right.count(False) + len(names) - len(set(names))
        near = sum(each.similarity >= expected[-1] - SAME for each in found) if len(expected) else 0
        tally.recall += near / len(expected) if len(expected) else 1.0

    def _timed(self, name: str, work: Callable[[], Any]) -> None:
        began = time.perf_counter()
        work()
        self._seconds[name] = round(time.perf_counter() - began, 2)


def of_brand(brand: str) -> Callable[[Written], bool]:
    """The products that a filter by `brand` lets through."""
    return lambda each: each.brand == brand


def brand_of(drawn: float) -> str:
    """One of `BRANDS`, or another for the rest; `drawn` is uniform in 0..1."""
    limit = 0.0
    for brand in BRANDS.values():
        limit += float(brand)
        if drawn < limit:
            return brand
    return "other"


def stored(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors of length 1 as a catalog keeps them: rounded to float16, normalised again."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded: NDArray[np.float32] = unit.astype(np.float16).astype(np.float32)
    rounded /= np.linalg.norm(rounded, axis=1, keepdims=True)
    return rounded


if __name__ == "__main__":
    sys.exit(main())
