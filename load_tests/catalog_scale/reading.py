"""The figures of one opened catalog, measured in a process that does nothing else: `python -m ...reading DIR`.

Rule: searches are those of a served snapshot, through its device thread; answers are compared with plain matrix
products. Prints one JSON object.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from load_tests.catalog_scale.shop import SHARES, filter_of, matches, number_of
from sightline_server.domain.catalogs import Capability
from sightline_server.index.catalog import open_catalog, read_facts
from sightline_server.index.choice.choosing import MIB, IndexPolicy, recorded
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.probes import SAME, nearest_vectors
from sightline_server.ports import Snapshot

K = 10
BATCH = 32
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Search:
    """The figures of one kind of search: milliseconds of single queries and of batches of 32, recall@10 of singles."""

    name: str
    plan: str
    recall: float
    p50_ms: float
    p99_ms: float
    batch_p50_ms: float
    batch_p99_ms: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of one catalog. `resident_mb` is after the start, `peak_mb` the most during it."""

    index: str
    start_s: float
    resident_mb: float
    peak_mb: float
    searches: tuple[Search, ...]


async def read(folder: Path, policy: IndexPolicy, queries: int) -> Reading:
    """Opens the catalog at `folder` and searches it with at most `queries` of its probes."""
    device = DeviceThread()
    try:
        began = time.monotonic()
        snapshot = await open_snapshot(folder, "scale", read_facts(folder).embedder, device, policy)
        start_s = time.monotonic() - began
        resident_mb = psutil.Process().memory_info().rss / MB
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
        asked = snapshot.probes.queries[:queries]
        searches = [await measured("all", snapshot, asked, folder)]
        searches += [await measured(name, await snapshot.select(filter_of(name)), asked, folder) for name in SHARES]
        index = index_name(snapshot, folder)
        await snapshot.close()
    finally:
        device.close()
    return Reading(index, round(start_s, 2), round(resident_mb, 1), round(peak_mb, 1), tuple(searches))


def index_name(snapshot: Snapshot, folder: Path) -> str:
    """The index that serves."""
    if Capability.EXACT in snapshot.capabilities:
        return "exact"
    record = recorded(folder, read_facts(folder).content_sha256)
    return "proposed" if record is None else f"{record.chosen.name}, effort {record.chosen.effort}"


async def measured(name: str, snapshot: Snapshot, queries: NDArray[np.float32], folder: Path) -> Search:
    """The figures of searches in `snapshot`, which is restricted by the filter `name` unless that is `all`."""
    await snapshot.nearest(queries[:1], K)
    found, singles, batches = [], [], []
    for place in range(len(queries)):
        began = time.perf_counter()
        [nearest] = await snapshot.nearest(queries[place : place + 1], K)
        singles.append((time.perf_counter() - began) * 1e3)
        found.append([one.similarity for one in nearest])
    for start in range(0, len(queries), BATCH):
        began = time.perf_counter()
        await snapshot.nearest(queries[start : start + BATCH], K)
        batches.append((time.perf_counter() - began) * 1e3)
    recall = await asyncio.to_thread(recall_of, name, found, queries, folder)
    plan = "all" if snapshot.applied_filter is None else snapshot.applied_filter.plan.kind.value
    return Search(name, plan, round(recall, 4), *percentiles(singles), *percentiles(batches))


def recall_of(name: str, found: Sequence[Sequence[float]], queries: NDArray[np.float32], folder: Path) -> float:
    """The share of the ten nearest that was found: similarities are exact, so they show which."""
    catalog = open_catalog(folder)
    vectors = catalog.vectors
    if name != "all":
        numbers = np.array([number_of(text) for text in catalog.display["id"].to_pylist()])
        vectors = vectors[matches(name, len(vectors))[numbers][catalog.owners]]
    true = nearest_vectors(queries, vectors, K).similarities
    right = [sum(one >= best[-1] - SAME for one in each) for each, best in zip(found, true, strict=True)]
    return float(sum(right) / true.size)


def percentiles(taken: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    p50, p99 = np.percentile(taken, (50, 99)).tolist()
    return round(p50, 3), round(p99, 3)


def main() -> int:
    """Reads the catalog of the command line: folder, MiB of exact search, number of queries."""
    folder, exact_mib, queries = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(asdict(asyncio.run(read(folder, IndexPolicy(exact_mib * MIB), queries)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
