"""Exact search with FAISS on the GPU: `python -m load_tests.gpu.faiss_search`.

Which FAISS this is and what works in it, whether it applies filters, what it takes of the GPU's memory, and how long a
search takes by batch size, with its recall against float32 and its floor.
Rule: the index is configured as the server's (index/faiss_index.py); queries come from host memory, as they do there.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from load_tests.gpu.cuda import Gpu
from load_tests.gpu.filters import filters
from load_tests.gpu.models import Ceiling, cpu_ceiling
from load_tests.gpu.results import common_options, publish, say
from load_tests.gpu.vectors import NEAREST, ExactNearest, chunks, recall, unit_queries
from sightline_server.index.faiss_index import GPU_SCRATCH_BYTES, library_facts, use_blas_early

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SAMPLE = 64
LEAST_CALLS, MOST_CALLS = 20, 2000
SLOWEST_READING_S = 6.0


@dataclass(frozen=True, slots=True)
class Size:
    """One collection: vectors, numbers in each, and the bytes in which a number is stored."""

    rows: int
    dimension: int
    number_bytes: int

    @property
    def stored_bytes(self) -> int:
        """The bytes that every search reads."""
        return self.rows * self.dimension * self.number_bytes

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.dimension} float{8 * self.number_bytes}"


GPU_SIZES = tuple(
    Size(rows, dimension, number_bytes)
    for rows, dimension, number_bytes in (
        (1_000_000, 256, 2),
        (1_000_000, 256, 4),
        (1_000_000, 1280, 2),
        (10_000_000, 256, 2),
        (10_000_000, 256, 4),
    )
)
CPU_SIZES = (Size(100_000, 256, 4),)


def main() -> int:
    """Measures every size; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.faiss_search", description=__doc__)
    common_options(parser)
    parser.add_argument("--rows", type=int, help="one collection of so many vectors instead of the usual ones")
    parser.add_argument("--dimension", type=int, default=256, help="its numbers a vector")
    parser.add_argument("--number-bytes", type=int, default=0, choices=(0, 2, 4), help="its bytes a number")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each reading")
    parser.add_argument("--facts-only", action="store_true", help="which FAISS, does it work, does it filter; no sizes")
    parser.add_argument("--name", default="faiss_search", help="of the result's file")
    arguments = parser.parse_args()
    library = library_facts()
    facts = {
        "library": f"faiss {library.version} ({library.flavour})",
        "gpus": library.gpus,
        "options": faiss.get_compile_options().strip(),
    }
    if not arguments.cpu and not library.gpus:
        say(f"faiss_search: {facts['library']} sees no GPU; for the small CPU mode: --cpu")
        return 2
    place = Place(cpu=arguments.cpu)
    figures: dict[str, Any] = {**facts, **place.facts, "filters": filters(place.resources)}
    if not arguments.facts_only:
        sizes = chosen_sizes(arguments)
        figures["searches"] = [place.measure(size, arguments.batches, arguments.seconds) for size in sizes]
    publish(arguments.name, figures, cpu=arguments.cpu, out=arguments.out)
    return 0


def chosen_sizes(arguments: argparse.Namespace) -> Sequence[Size]:
    """The collections that the options ask for; on the CPU numbers have 4 bytes by default."""
    if not arguments.rows:
        return CPU_SIZES if arguments.cpu else GPU_SIZES
    number_bytes = arguments.number_bytes or (4 if arguments.cpu else 2)
    return (Size(arguments.rows, arguments.dimension, number_bytes),)


class Place:
    """The device on which indexes are made: GPU 0 with its resources, made once, or the CPU."""

    def __init__(self, *, cpu: bool) -> None:
        self.resources: Any = None
        self._gpu: Gpu | None = None
        self.facts: dict[str, Any] = {}
        if cpu:
            self._ceilings = {4: cpu_ceiling(), 2: cpu_ceiling()}
        else:
            self._take_gpu()
        self.facts["ceiling"] = {
            f"float{8 * size}": {"ops_per_s": c.ops_per_s, "bytes_per_s": c.bytes_per_s, "source": c.source}
            for size, c in self._ceilings.items()
        }

    def _take_gpu(self) -> None:
        self._gpu = Gpu()
        before = self._gpu.used_bytes()
        self.resources = faiss.StandardGpuResources()
        self.resources.setTempMemory(GPU_SCRATCH_BYTES)
        index = self._empty_index(Size(1, 8, 2))
        index.add(np.eye(8, dtype=np.float32))
        index.search(np.eye(8, dtype=np.float32), 1)
        self.facts["resources_bytes"] = self._gpu.used_bytes() - before
        self.facts["scratch_bytes"] = GPU_SCRATCH_BYTES
        bandwidth, peak = self._gpu.copy_bytes_per_s(), self._gpu.peak()
        source = "of the chip at its highest clock; copy within the memory"
        self._ceilings = {
            4: Ceiling(peak.fp32 or float("inf"), bandwidth, f"fp32 {source}"),
            2: Ceiling(peak.fp16 or float("inf"), bandwidth, f"fp16 on tensor cores {source}"),
        }

    def _empty_index(self, size: Size) -> Any:
        if self.resources is None:
            use_blas_early(size.dimension)
            if size.number_bytes == 4:
                return faiss.IndexFlatIP(size.dimension)
            half = faiss.ScalarQuantizer.QT_fp16
            return faiss.IndexScalarQuantizer(size.dimension, half, faiss.METRIC_INNER_PRODUCT)
        config = faiss.GpuIndexFlatConfig()
        config.device = 0
        config.useFloat16 = size.number_bytes == 2
        config.use_cuvs = library_facts().flavour == "gpu-cuvs"
        return faiss.GpuIndexFlatIP(self.resources, size.dimension, config)

    def measure(self, size: Size, batches: Sequence[int], seconds: float) -> dict[str, Any]:
        """Builds one collection and searches it. A size that does not fit is skipped, and says so."""
        say(f"faiss_search: {size}")
        need = int(size.stored_bytes * 2.2) + GPU_SCRATCH_BYTES
        if self._gpu and need > (free := self._gpu.total_bytes() - self._gpu.used_bytes()):
            return {"size": str(size), "skipped": f"needs {need:,} bytes while it grows, {free:,} are free"}
        before = self._gpu.used_bytes() if self._gpu else 0
        index, exact, facts = self._build(size)
        if self._gpu:
            facts["bytes_per_vector"] = round((self._gpu.used_bytes() - before) / size.rows, 1)
        _, rows = index.search(exact_queries(size), NEAREST)
        facts["recall_at_10"] = round(recall(rows, exact.rows), 4)
        readings = [self._read(index, size, batch, seconds) for batch in batches]
        return {"size": str(size), "stored_bytes": size.stored_bytes, **facts, "batches": readings}

    def _build(self, size: Size) -> tuple[Any, ExactNearest, dict[str, Any]]:
        begun = time.perf_counter()
        index, exact = self._empty_index(size), ExactNearest(exact_queries(size))
        made = chunks(size.rows, size.dimension, on_gpu=self._gpu is not None)
        first_row = 0
        for chunk in made:
            exact.see(made.scores(exact_queries(size), chunk), first_row)
            made.add(index, chunk)
            first_row += len(chunk)
        return index, exact, {"made_by": made.name, "build_s": round(time.perf_counter() - begun, 2)}

    def _read(self, index: Any, size: Size, batch: int, seconds: float) -> dict[str, Any]:
        queries = unit_queries(batch, size.dimension, seed=3)
        times = latencies_ms(lambda: index.search(queries, NEAREST), seconds)
        ceiling = self._ceilings[size.number_bytes]
        bytes_ms = size.stored_bytes / ceiling.bytes_per_s * 1e3
        ops_ms = 2.0 * size.rows * size.dimension * batch / ceiling.ops_per_s * 1e3
        p50 = float(np.percentile(times, 50))
        return {
            "batch": batch,
            "calls": len(times),
            "p50_ms": round(p50, 4),
            "p99_ms": round(float(np.percentile(times, 99)), 4),
            "queries_per_s": round(batch / p50 * 1e3, 1),
            "floor_bytes_ms": float(f"{bytes_ms:.3g}"),
            "floor_ops_ms": float(f"{ops_ms:.3g}"),
            "of_floor": float(f"{max(bytes_ms, ops_ms) / p50:.3g}"),
        }


def exact_queries(size: Size) -> NDArray[np.float32]:
    """The queries whose exact answer is known."""
    return unit_queries(SAMPLE, size.dimension)


def latencies_ms(work: Callable[[], Any], seconds: float) -> NDArray[np.float64]:
    """Milliseconds of calls over `seconds`, at least `LEAST_CALLS` of them unless they are very slow; two go before."""
    work()
    work()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < MOST_CALLS:
        spent = time.perf_counter() - begun
        if times and ((spent >= seconds and len(times) >= LEAST_CALLS) or spent >= SLOWEST_READING_S):
            break
        before = time.perf_counter()
        work()
        times.append((time.perf_counter() - before) * 1e3)
    return np.array(times)


if __name__ == "__main__":
    sys.exit(main())
