"""The cost of a lease and of reading the shown products for one photo, in microseconds.

    python -m load_tests.direct.lease_cost [--products N] [--objects N] [--images N]
Rule: the parts of a search that are the catalog's own, on one quiet core, without models and without a server. Prints
one JSON object.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sightline_server.access.own import own_pass
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank
from sightline_server.stages.search import VectorQuery, search
from sightline_server.stages.show import show
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics

DIMENSION = 64
SPEC = EmbedderSpec("measured", "1", 8, 8, DIMENSION)
ROUNDS = 2000
K, SHOWN = 30, 10


def write(folder: Path, products: int, images: int) -> None:
    """A catalog of random vectors."""
    vectors = np.random.default_rng(1).standard_normal((products, images, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    with CatalogWriter(folder, SPEC, replace=False) as writer:
        writer.add(
            [
                CatalogRow(
                    Product(f"p{n:06}", f"Product {n}", "Brand", f"Category > {n % 50}", "5.00 EUR", "in_stock"),
                    None,
                    tuple(f"{n}-{image}.jpg" for image in range(images)),
                    vectors[n],
                )
                for n in range(products)
            ]
        )
        writer.publish(datetime.now(UTC))


def microseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of `rounds` calls."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - began)
    return round(float(np.median(taken)) / 1000, 1)


async def measure(folder: Path, objects: int) -> dict[str, float]:
    """Microseconds of one photo by part."""
    device, registry = DeviceThread(), Registry(CatalogMetrics(Metrics()))
    snapshot = await open_snapshot(folder, "measured", SPEC, device)
    registry.publish(snapshot)

    granted = own_pass("measured")

    def lease() -> None:
        with registry.lease(granted):
            pass

    queries = np.random.default_rng(2).standard_normal((objects, DIMENSION)).astype(np.float32)
    asked = [VectorQuery(snapshot, query, K) for query in queries / np.linalg.norm(queries, axis=1, keepdims=True)]
    found = await snapshot.nearest(np.stack([query.embedding for query in asked]), K)
    ranking = RankingSettings()

    def ranked() -> list[object]:
        return [rank(each, "chair", limit=SHOWN, min_similarity=0.0, settings=ranking) for each in found]

    shown = [rank(each, "chair", limit=SHOWN, min_similarity=0.0, settings=ranking) for each in found]
    searches = []
    for _ in range(ROUNDS // 4):
        began = time.perf_counter_ns()
        await search(asked)
        searches.append(time.perf_counter_ns() - began)
    parts = {
        "lease_us": microseconds(lease),
        "search_us": round(float(np.median(searches)) / 1000, 1),
        "rank_us": microseconds(ranked, ROUNDS // 4),
        "show_us": microseconds(lambda: show(snapshot, shown), ROUNDS // 4),
    }
    await registry.close()
    device.close()
    return parts


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=4)
    parser.add_argument("--images", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "catalog", options.products, options.images)
        print(json.dumps(asyncio.run(measure(Path(folder) / "catalog", options.objects))))


if __name__ == "__main__":
    main()
