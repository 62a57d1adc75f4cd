"""Unit vectors by the million, made in chunks where the index lives, and the exact answer for a few queries.

Rule: nothing of a collection is kept but what the index keeps. On a GPU the chunks are made by CuPy where that is
installed and handed over by address; else by numpy on the host, on all cores. The results say which it was.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 1 << 17
NEAREST = 10


class HostChunks:
    """Vectors float32 from numpy's SFC64, a part of each chunk on each core."""

    name = "numpy on the host"

    def __init__(self, rows: int, dimension: int, seed: int) -> None:
        self.rows, self.dimension, self._seed = rows, dimension, seed
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, self.rows, CHUNK_ROWS):
            chunk = np.empty((min(CHUNK_ROWS, self.rows - start), self.dimension), np.float32)
            parts = np.array_split(chunk, len(os.sched_getaffinity(0)))
            list(self._threads.map(lambda part: self._fill(*part), ((start, n, p) for n, p in enumerate(parts))))
            yield chunk

    def _fill(self, start: int, number: int, part: NDArray[np.float32]) -> None:
        source = np.random.Generator(np.random.SFC64([self._seed, start, number]))
        source.standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)

    @staticmethod
    def scores(queries: NDArray[np.float32], chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inner products [Q,C]."""
        return queries @ chunk.T

    @staticmethod
    def add(index: Any, chunk: NDArray[np.float32]) -> None:
        """Puts the chunk into a FAISS index."""
        index.add(chunk)


class DeviceChunks:
    """The same from CuPy, which never leave the GPU."""

    name = "CuPy on the device"

    def __init__(self, rows: int, dimension: int, seed: int, cupy: Any) -> None:
        self.rows, self.dimension, self._cupy = rows, dimension, cupy
        self._source = cupy.random.Generator(cupy.random.XORWOW(seed))

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows, CHUNK_ROWS):
            shape = (min(CHUNK_ROWS, self.rows - start), self.dimension)
            chunk = self._source.standard_normal(shape, dtype=self._cupy.float32)
            chunk /= self._cupy.linalg.norm(chunk, axis=1, keepdims=True)
            # FAISS works on its own streams.
            self._cupy.cuda.Device().synchronize()
            yield chunk

    def scores(self, queries: NDArray[np.float32], chunk: Any) -> NDArray[np.float32]:
        """Inner products [Q,C]; float32 throughout, as CuPy does by default."""
        found: NDArray[np.float32] = self._cupy.asnumpy(self._cupy.asarray(queries) @ chunk.T)
        return found

    @staticmethod
    def add(index: Any, chunk: Any) -> None:
        """Puts the chunk into a GPU index by its address."""
        import faiss  # a machine may have several; the caller has chosen one

        index.add_c(len(chunk), faiss.cast_integer_to_float_ptr(chunk.data.ptr))


def chunks(rows: int, dimension: int, *, on_gpu: bool, seed: int = 1) -> HostChunks | DeviceChunks:
    """The vectors of a collection; on a GPU made there if CuPy works."""
    if on_gpu:
        # A second site-packages next to this environment's, only for CuPy (run.sh --cupy-from).
        sys.path += [site for site in (os.environ.get("CUPY_SITE"),) if site]
        try:
            import cupy

            cupy.zeros(1).sum()
            return DeviceChunks(rows, dimension, seed, cupy)
        except Exception as error:  # whatever keeps CuPy from working, the host can do it
            print(f"vectors: made on the host, because CuPy does not work: {type(error).__name__}", file=sys.stderr)
    return HostChunks(rows, dimension, seed)


class ExactNearest:
    """The `NEAREST` best of every query over all chunks seen, by float32 products."""

    def __init__(self, queries: NDArray[np.float32]) -> None:
        self._queries = queries
        self.scores = np.empty((len(queries), 0), np.float32)
        self.rows = np.empty((len(queries), 0), np.int64)

    def see(self, scores: NDArray[np.float32], first_row: int) -> None:
        """Takes the products with one chunk, whose first vector is number `first_row`."""
        width = min(NEAREST, scores.shape[1])
        best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        all_scores = np.concatenate([self.scores, np.take_along_axis(scores, best, axis=1)], axis=1)
        all_rows = np.concatenate([self.rows, best + first_row], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :NEAREST]
        self.scores = np.take_along_axis(all_scores, order, axis=1)
        self.rows = np.take_along_axis(all_rows, order, axis=1)


def recall(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    """Recall@k: the share of `exact` [Q,k] that is among `found` [Q,k]."""
    hits = [len(set(one) & set(other)) for one, other in zip(found.tolist(), exact.tolist(), strict=True)]
    return sum(hits) / exact.size


def unit_queries(count: int, dimension: int, seed: int = 2) -> NDArray[np.float32]:
    """Queries of length 1."""
    queries = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries
