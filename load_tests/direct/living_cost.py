"""The cost of searching a catalog while it is written to: leases, searches, writes, and a rollback.

    python -m load_tests.direct.living_cost [--products N] [--dimension N] [--queries N] [--written N,N,...]
Rule: the same searches on an immutable catalog and on a living one, with nothing written and with so many images
written since; without models and without a server. Prints one JSON object: microseconds, or seconds where it says so.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from load_tests.direct.lease_cost import microseconds
from sightline_server.access.own import own_pass
from sightline_server.app.living import OpenLiving, open_living
from sightline_server.domain.filters import Filter
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics

ROUNDS, K, GROUP = 200, 40, 100
NEVER = MergePolicy(images=1 << 40, dead=1 << 40, dead_exact=1 << 40, rows=1 << 40)
WANTED = Filter(brands=("Brand 3",))


def rows_of(numbers: Iterable[int], dimension: int) -> list[CatalogRow]:
    """Products with one random image each."""
    made = []
    for number in numbers:
        vector = np.random.default_rng(number).standard_normal((1, dimension)).astype(np.float32)
        product = Product(f"p{number:07}", f"Product {number}", f"Brand {number % 20}", f"Category > {number % 50}")
        made.append(CatalogRow(product, None, (f"{number}.jpg",), vector / np.linalg.norm(vector)))
    return made


async def search_us(registry: Registry, queries: np.ndarray, wanted: Filter | None = None) -> float:
    """Median of a lease, a selection and a search of all queries together."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        with registry.lease(own_pass("measured")) as snapshot:
            chosen = snapshot if wanted is None else await snapshot.select(wanted)
            await chosen.nearest(queries, K)
        taken.append(time.perf_counter_ns() - began)
    return round(float(np.median(taken)) / 1000, 1)


async def parts(registry: Registry, queries: np.ndarray) -> dict[str, float]:
    """Microseconds of a lease and of searches."""

    def lease() -> None:
        with registry.lease(own_pass("measured")):
            pass

    return {
        "lease_us": microseconds(lease),
        "search_us": await search_us(registry, queries),
        "filtered_us": await search_us(registry, queries, WANTED),
    }


async def write(living: OpenLiving, first: int, count: int, dimension: int) -> float:
    """Writes `count` new products in groups; returns microseconds for each."""
    rows = rows_of(range(first, first + count), dimension)
    began = time.perf_counter()
    for start in range(0, count, GROUP):
        await asyncio.to_thread(living.catalog.upsert, rows[start : start + GROUP])
    return round((time.perf_counter() - began) / max(count, 1) * 1e6, 1)


async def measure(folder: Path, products: int, dimension: int, count: int, written: Sequence[int]) -> dict[str, object]:
    """All figures."""
    spec = EmbedderSpec("measured", "1", 8, 8, dimension)
    with CatalogWriter(folder, spec, replace=False) as writer:
        writer.add(rows_of(range(products), dimension))
        writer.publish(datetime.now(UTC))
    queries = np.concatenate([row.embeddings for row in rows_of(range(1, count + 1), dimension)])
    device, registry = DeviceThread(), Registry(CatalogMetrics(Metrics()))
    registry.publish(await open_snapshot(folder, "measured", spec, device))
    figures: dict[str, object] = {"immutable": await parts(registry, queries)}
    began = time.perf_counter()
    async with open_living(folder, "measured", spec, device, registry, policy=NEVER) as living:
        figures["open_s"] = round(time.perf_counter() - began, 2)
        total = 0
        for most in (0, *written):
            cost = await write(living, products + total, most - total, dimension) if most else 0.0
            total = most
            figures[f"written_{most}"] = {"write_us": cost, **await parts(registry, queries)}
        await asyncio.to_thread(living.catalog.checkpoint)
        began = time.perf_counter()
        await asyncio.to_thread(living.catalog.store.rollback, 1)
        figures["rollback_s"] = round(time.perf_counter() - began, 2)
    await registry.close()
    device.close()
    return figures


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--written", default="1000,10000")
    options = parser.parse_args()
    written = [int(number) for number in options.written.split(",") if number]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog"
        found = asyncio.run(measure(path, options.products, options.dimension, options.queries, written))
        print(json.dumps(found))


if __name__ == "__main__":
    main()
