"""Exact inner-product search with FAISS, on the CPU or on a GPU.

Rule: one thread owns an index. On the CPU that is the thread that built it until another one adopts it; on a GPU it is
the device thread from the beginning, whose resources are made once and shared by all of its indexes. A filter is given
only to an index that was seen to apply one: the GPU indexes of FAISS without cuVS ignore it without an error.

On the CPU the vectors are float32 although the catalog has float16. Measured on 20,000 x 1280 and one core: float16
storage (`IndexScalarQuantizer`) answers 1 query in 7 ms, 8 in 63 and 64 in 450; float32 takes 9, 19 and 37 ms, because
only float32 goes through BLAS, and queries come in batches here. On a GPU, float16 halves what every search reads.
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import faiss
import numpy as np
from numpy.typing import NDArray

from sightline_server.index.half_floats import float32, lengths
from sightline_server.index.vectors import LibraryFacts, VectorRows

SWIG: Any = faiss
"""The same module; its types describe the C++ signatures, not those that its Python wrapper makes of them."""

ADD_ROWS = 16_384
FILLED_ROWS = 1024
GPU_MAX_K = 2048
GPU_SCRATCH_BYTES = 512 * 1024 * 1024
SMALL_BYTES = 32 * 1024 * 1024
"""Below it one thread is as fast as many."""
MAX_THREADS = 16
"""Above it, at most half of the cores and never more than these: the others belong to the models."""

BLAS_FROM_QUERIES = 3
"""Batches of at least so many queries are one matrix product. FAISS itself waits for 100 (measured: 8 queries on
2,000 x 1280 take 2.9 ms its way and 1.2 ms through BLAS; 2 queries are faster one by one)."""
BLAS_QUERIES = 256
"""Queries of one matrix product. Every search allocates 1,024 similarities for each, however few queries it has, and
the server overwrites what is allocated and freed (memory.py): with FAISS's own 4096, which are 16 MB, 5 queries on
1,000 x 1280 take 1.9 ms instead of 0.7. Larger batches are split and take as long as before."""
THRESHOLD_IS_NUMBERS = faiss.cvar.distance_compute_blas_threshold > 1000
"""Newer releases compare their threshold (128,000) with queries x dimension, older ones (20) with queries alone."""

CANNOT = {
    "cpu": ("search on a GPU",),
    "gpu": ("apply a filter on the GPU (Flat and IVF ignore it without an error)", "build CAGRA graphs"),
    "gpu-cuvs": ("apply a filter on a GPU index that does not use cuVS (it ignores it without an error)",),
}


def library_facts() -> LibraryFacts:
    """The installed FAISS, the number of GPUs that it sees, and its limitations."""
    options = faiss.get_compile_options().split()
    flavour = "cpu"
    if "GPU" in options or hasattr(faiss, "StandardGpuResources"):
        flavour = "gpu-cuvs" if any("CUVS" in option for option in options) else "gpu"
    gpus = int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
    cannot = CANNOT[flavour]
    if flavour != "cpu" and gpus == 0:
        cannot = (*cannot, "search on a GPU, because it sees none")
    return LibraryFacts(flavour, str(faiss.__version__), gpus, cannot)


ValueT = TypeVar("ValueT")
Run = Callable[[Callable[[], ValueT]], ValueT]
"""Runs a step in the thread that is to own the index, and waits for it."""

of_thread = threading.local()
"""The resources of a GPU, which belong to one thread and are shared by the indexes that it owns."""


def here(work: Callable[[], ValueT]) -> ValueT:
    """Runs a step in the calling thread."""
    return work()


class FlatIndex:
    """A flat FAISS index that is ready; `FaissIndex` and `MappedIndex` make it. A search takes `threads` threads."""

    exact = True

    def __init__(self, index: Any, *, place: str, max_k: int, threads: int, number_bytes: int = 4) -> None:
        self.memory_bytes = int(index.ntotal) * int(index.d) * number_bytes
        self._owner = threading.get_ident()
        self._index = index
        self._threads = threads
        self.max_k = max_k
        self.description = f"flat inner product, {index.ntotal} x {index.d}, {place}"

    def adopt(self) -> None:
        """Makes the calling thread the owner."""
        self._owner = threading.get_ident()

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `VectorIndex`. Raises `RuntimeError` from another thread than the owner's, as all of its methods."""
        self._prepare()
        similarities, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        return similarities, rows

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `VectorIndex`."""
        self._prepare()
        # FAISS keeps an address in these bits, no reference to them.
        bits = np.packbits(allowed, bitorder="little")
        parameters = selecting(self._index, SWIG.IDSelectorBitmap(bits))
        similarities, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return similarities, rows

    def subset(self, rows: NDArray[np.integer[Any]]) -> "GatheredVectors":
        """See `VectorIndex`. The copies are on the CPU."""
        vectors = self.copies(rows)
        return GatheredVectors(vectors, min(self._threads, search_threads(vectors.size, sharers=1)))

    def copies(self, rows: NDArray[np.integer[Any]], into: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Copies of the vectors `rows` [N] as they are searched, float32 [N,D] on the CPU: in `into`, where given."""
        self._prepare()
        found: NDArray[np.float32] = self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64), into)
        return found

    def _prepare(self) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("a FAISS index belongs to the thread that adopted it")
        prepare(self._threads, self._index.d)

    def close(self) -> None:
        """Frees the vectors."""
        self._index = None


class GatheredVectors:
    """`vectors.Search` over `vectors` float32 [N,D], which are few enough to be compared all."""

    def __init__(self, vectors: NDArray[np.float32], threads: int) -> None:
        self._vectors = vectors
        self._threads = threads
        self.max_k = len(vectors)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `vectors.Search`."""
        prepare(self._threads, self._vectors.shape[1])
        similarities, rows = SWIG.knn(
            np.ascontiguousarray(queries, np.float32), self._vectors, k, metric=SWIG.METRIC_INNER_PRODUCT
        )
        return similarities, rows


def prepare(threads: int, dimension: int) -> None:
    """Sets up the next search of the calling thread over vectors of `dimension` numbers.

    These are settings of the thread and of the process; the search before this one may have been on another index.
    """
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = blas_threshold(dimension)
    faiss.cvar.distance_compute_blas_query_bs = BLAS_QUERIES


class FaissIndex(FlatIndex):
    """A flat index over all `vectors` [V,D]; those of an array are normalised again after their rounding.

    `sharers` processes search on this machine's cores, this one included. On a GPU, `run` says which thread owns the
    index: vectors go there part by part, so that searches find room between two of them.
    """

    def __init__(self, vectors: VectorRows, *, use_gpu: bool, sharers: int = 1, run: "Run[Any]" = here) -> None:
        rows, dimension = vectors.shape
        threads = search_threads(vectors.size, sharers)
        run = run if use_gpu else here
        index = run(lambda: empty_gpu_index(dimension) if use_gpu else faiss.IndexFlatIP(dimension))
        if use_gpu:
            for part in unit_parts(vectors):
                run(partial(index.add, part))
        else:
            fill(index, vectors)
        place = "GPU 0, float16" if use_gpu else f"CPU, float32, threads: {threads}"
        max_k = min(rows, GPU_MAX_K) if use_gpu else rows
        super().__init__(index, place=place, max_k=max_k, threads=threads, number_bytes=2 if use_gpu else 4)
        run(self.adopt)

    def write(self, file: Path) -> None:
        """Writes the vectors to `file`, for `MappedIndex`. Not for an index on a GPU."""
        faiss.write_index(self._index, str(file))


class MappedIndex(FlatIndex):
    """A flat index on the CPU whose vectors stay where they are: in `file`, which every process maps.

    Of FAISS's two flags only `IO_FLAG_MMAP_IFC` maps a flat index; `IO_FLAG_MMAP` reads it into private memory
    without a warning (measured with 1.15.1 on 100,000 x 256: 0 and 98 MB of private memory).
    """

    def __init__(self, file: Path, *, sharers: int) -> None:
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        threads = search_threads(index.ntotal * index.d, sharers)
        place = f"CPU, float32, mapped, threads: {threads}"
        super().__init__(index, place=place, max_k=index.ntotal, threads=threads)

    def vectors(self) -> NDArray[np.float32]:
        """All vectors, float32 [V,D], as a view; valid until `close`."""
        size = self._index.ntotal * self._index.d
        view: NDArray[np.float32] = faiss.rev_swig_ptr(self._index.get_xb(), size)
        return view.reshape(self._index.ntotal, self._index.d)


def fill(index: Any, vectors: VectorRows) -> None:
    """Adds `vectors` to an empty flat index on the CPU, whose memory is allocated once: `add` would copy what is there
    each time that it grows."""
    rows, dimension = vectors.shape
    index.codes.resize(vectors.size * 4)
    index.ntotal = rows
    numbers = faiss.rev_swig_ptr(index.get_xb(), vectors.size).reshape(rows, dimension)
    for place, part in enumerate(unit_parts(vectors, FILLED_ROWS)):
        start = place * FILLED_ROWS
        numbers[start : start + len(part)] = part


def selecting(index: Any, selector: Any) -> Any:
    """The parameters of a search of `index` with `selector`; inverted files raise for those of other indexes."""
    if isinstance(index, faiss.IndexIVF):
        return SWIG.SearchParametersIVF(sel=selector, nprobe=index.nprobe)
    return SWIG.SearchParameters(sel=selector)


def can_map() -> bool:
    """Returns whether this FAISS can map flat indexes, as 1.11 and later can."""
    return hasattr(faiss, "IO_FLAG_MMAP_IFC")


def search_threads(numbers: int, sharers: int) -> int:
    """The number of threads of a search over `numbers` float32, where `sharers` processes share the cores."""
    cores = (os.cpu_count() or 1) // 2 // sharers
    return 1 if numbers * 4 < SMALL_BYTES else max(1, min(MAX_THREADS, cores))


def blas_threshold(dimension: int) -> int:
    """FAISS's threshold from which its flat search over vectors of `dimension` numbers is a matrix product."""
    return BLAS_FROM_QUERIES * (dimension if THRESHOLD_IS_NUMBERS else 1)


def use_blas_early(dimension: int) -> None:
    """Sets `blas_threshold` for the whole process."""
    faiss.cvar.distance_compute_blas_threshold = blas_threshold(dimension)


def gpu_resources() -> Any:
    """The GPU resources of the calling thread, made once."""
    if not hasattr(of_thread, "resources"):
        of_thread.resources = faiss.StandardGpuResources()
        of_thread.resources.setTempMemory(GPU_SCRATCH_BYTES)
    return of_thread.resources


def empty_gpu_index(dimension: int) -> Any:
    """A flat float16 index on GPU 0, with the resources of the calling thread."""
    config = faiss.GpuIndexFlatConfig()
    config.device = 0
    config.useFloat16 = True
    # FAISS's kernels take 3.6 times as long for one query on 1M x 1280, 6.7 times for 256 (docs/record/lab).
    config.use_cuvs = library_facts().flavour == "gpu-cuvs"
    return faiss.GpuIndexFlatIP(gpu_resources(), dimension, config)


def unit_parts(vectors: VectorRows, rows: int = ADD_ROWS) -> Iterator[NDArray[np.float32]]:
    """The vectors in order, `rows` at a time, as float32 of length 1."""
    for start in range(0, len(vectors), rows):
        if isinstance(vectors, np.ndarray):
            yield normalised(float32(vectors[start : start + rows]))
        else:  # of length 1 already: normalised again, they would be other numbers after each merge
            yield vectors[start : start + rows]


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """`vectors` [N,D], scaled in place to length 1."""
    vectors /= lengths(vectors)[:, np.newaxis]
    return vectors
