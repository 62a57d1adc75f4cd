"""`python -m load_tests.filter_plans`: the ways of searching under a filter, timed side by side.

The thresholds of `sightline_server.index.filters.planner` are chosen from this table. Rule: the searches are the
server's own, on one thread and random unit vectors; `load_tests.gpu.plans` times them with the index on a GPU.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.searches import ExactSearch, GatherSearch, SelectorSearch
from sightline_server.index.schema import PRICE_TYPE

SHARES = (0.001, 0.01, 0.05, 0.2, 0.5, 0.9)
K = 56
"""Vectors that a search for ten products asks for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of one batch of `queries`, the best of some runs; `copy_ms` is what `gather` takes once a filter."""

    rows: int
    dimension: int
    queries: int
    share: float
    unfiltered_ms: float
    copy_ms: float
    gather_ms: float
    selector_ms: float
    exact_ms: float


def timings(
    rows: int, dimension: int, batches: tuple[int, ...], runs: int, *, use_gpu: bool = False
) -> Iterator[Timing]:
    """One timing per share and batch size."""
    vectors = unit_vectors(rows, dimension)
    index = FaissIndex(vectors, use_gpu=use_gpu)
    for queries in (vectors[:size].copy() for size in batches):
        whole = best_ms(partial(index.search, queries, K), runs)
        for share in SHARES:
            allowed = np.random.default_rng(1).random(rows) < share
            matching = np.flatnonzero(allowed)
            k = min(K, len(matching))
            gathered = GatherSearch(index, matching)
            selector = SelectorSearch(index, allowed, len(matching))
            exact = ExactSearch(index, matching, dimension)
            yield Timing(
                *(rows, dimension, len(queries), share, whole),
                copy_ms=best_ms(partial(GatherSearch, index, matching), runs),
                gather_ms=search_ms(gathered.search, queries, k, runs),
                selector_ms=search_ms(selector.search, queries, k, runs),
                exact_ms=search_ms(exact.search, queries, k, runs),
            )


def unit_vectors(rows: int, dimension: int) -> NDArray[np.float32]:
    """Random vectors of length 1."""
    vectors = np.random.default_rng(0).standard_normal((rows, dimension), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def search_ms(search: Callable[..., object], queries: NDArray[np.float32], k: int, runs: int) -> float:
    """Milliseconds of one search."""
    return best_ms(lambda: search(queries, k), runs)


def best_ms(work: Callable[[], object], runs: int) -> float:
    """Milliseconds of the fastest of `runs` runs, after one that warms up."""
    work()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return round(min(taken) * 1e3, 2)


def crossover(table: list[Timing]) -> str:
    """The shares from which on a selector is faster than a copy of what matches, or the search of a kept copy."""
    found = []
    for queries in sorted({each.queries for each in table}):
        part = [each for each in table if each.queries == queries]
        later = [each.share for each in part if each.copy_ms + each.gather_ms > each.selector_ms]
        kept = [each.share for each in part if each.gather_ms > each.selector_ms]
        first, again = (f"from {min(shares):.1%} on" if shares else "at no share" for shares in (later, kept))
        found.append(f"{queries} queries: a selector beats copy and search {first}, the search of a kept copy {again}")
    return "\n".join(found)


def column_seconds(products: int) -> float:
    """CPU seconds of making the filter columns of a catalog of `products` with eight attributes each."""
    names = ("title", "brand", "category", "price", "availability", "link", "image_link", "gtin")
    columns = {name: [f"{name} {number % 500}" for number in range(products)] for name in names}
    columns["id"] = [f"p{number}" for number in range(products)]
    columns["item_group_id"] = [f"g{number // 4}" for number in range(products)]
    columns["attributes"] = [
        json.dumps({f"a{n}": f"v{(number * n) % 97}" for n in range(7)} | {"mpn": f"m{number}"})
        for number in range(products)
    ]
    display = pa.table({name: pa.array(values, pa.large_string()) for name, values in columns.items()})
    prices = pa.table(
        {
            "price_amount": pa.array([Decimal(number % 1000) for number in range(products)], PRICE_TYPE),
            "price_currency": pa.array(["USD"] * products),
        }
    )
    start = time.process_time()
    FilterColumns.of(display, prices)
    return round(time.process_time() - start, 2)


def main() -> int:
    """Prints the table and where the ways cross."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=1280)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--columns", type=int, default=0, help="also time the filter columns of so many products")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each row of the table")
    options = parser.parse_args()
    table = []
    names = ("queries", "share", "unfiltered_ms", "copy_ms", "gather_ms", "selector_ms", "exact_ms")
    print(" ".join(f"{name:>13}" for name in names), file=sys.stderr)
    for timing in timings(options.rows, options.dimension, tuple(options.batches), options.runs):
        table.append(timing)
        facts = asdict(timing)
        print(json.dumps(facts) if options.json else " ".join(f"{facts[name]:>13}" for name in names))
    print(crossover(table), file=sys.stderr)
    if options.columns:
        print(f"columns of {options.columns} products: {column_seconds(options.columns)} s of CPU", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
