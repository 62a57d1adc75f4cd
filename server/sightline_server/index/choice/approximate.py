"""An approximate index as the server searches it: it proposes rows, and the catalog's own vectors rank them.

Rule: similarities are those of an exact search, so that they can be merged with exact ones, and a search returns as
many rows as there are: where the index proposes too few, every vector is compared.
"""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.choice.building import SWIG, parameters, stored_bytes
from sightline_server.index.choice.candidates import Candidate, Family, lists_of
from sightline_server.index.faiss_index import GatheredVectors, prepare, search_threads
from sightline_server.index.filters.searches import ExactSearch
from sightline_server.index.half_floats import float32, lengths
from sightline_server.index.vectors import Vectors

MAX_K = 2048
"""Rows that one search returns at most."""
MOST_PROPOSED = 4096
"""Rows that are ranked for one query, unless more are asked for."""
PROPOSED_PER_ROW = 4
"""Vectors in the lists that a search reads, for each row that it is asked for."""
FILTER_EFFORT = 4
"""Times the effort under a filter. What matches is often not among the nearest regions: for filters like categories,
100,000 x 256 and RaBitQ's lists, 0.948 was found with the plain effort and 0.969 with this one, in 1.3 ms."""
PART_ROWS = 4096
"""Vectors of which the lengths are computed at once, so that they stay in the cache."""

Nearest = tuple[NDArray[np.float32], NDArray[np.int64]]


class ApproximateIndex:
    """`vectors.VectorIndex` over `vectors` [V,D], which stay as the catalog has them; `index` is of `candidate`."""

    exact = False

    def __init__(self, index: Any, vectors: Vectors, candidate: Candidate, effort: int, *, sharers: int = 1) -> None:
        self._owner = threading.get_ident()
        self._index = index
        self._vectors = vectors
        self._scales = inverse_lengths(vectors)
        self.memory_bytes = vectors.nbytes + self._scales.nbytes + stored_bytes(index)
        self._candidate = candidate
        self.effort = effort
        self._threads = search_threads(vectors.size, sharers)
        self.max_k = min(len(vectors), MAX_K)
        rows, dimension = vectors.shape
        self.description = (
            f"{candidate.name}, effort {effort}, {rows} x {dimension}, {'GPU 0' if candidate.gpu else 'CPU'}, "
            f"ranked again by the catalog's vectors, threads: {self._threads}"
        )

    def adopt(self) -> None:
        """Makes the calling thread the owner."""
        self._owner = threading.get_ident()

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `VectorIndex`. Raises `RuntimeError` from another thread than the owner's, as all of its methods."""
        return self._nearest(queries, k, None)

    def search_allowed(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]) -> Nearest:
        """See `VectorIndex`. The fewer vectors are allowed, the more of the index is read."""
        return self._nearest(queries, k, allowed)

    def subset(self, rows: NDArray[np.integer[Any]]) -> GatheredVectors:
        """See `VectorIndex`."""
        self._prepare()
        vectors = self._vectors[rows].astype(np.float32) * self._scales[rows, np.newaxis]
        return GatheredVectors(vectors, min(self._threads, search_threads(vectors.size, sharers=1)))

    def close(self) -> None:
        """Frees the index and the vectors."""
        self._index = None
        self._vectors = np.empty((0, self._vectors.shape[1]), np.float16)
        self._scales = np.empty(0, np.float32)

    def _nearest(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None) -> Nearest:
        self._prepare()
        queries = np.ascontiguousarray(queries, np.float32)
        available = len(self._vectors) if allowed is None else int(np.count_nonzero(allowed))
        proposed = self._proposed(queries, k, allowed, available)
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for place, (query, candidates) in enumerate(zip(queries, proposed, strict=True)):
            ranked = self._ranked(query, candidates[candidates >= 0])
            similarities[place, : len(ranked[0][:k])], rows[place, : len(ranked[1][:k])] = ranked[0][:k], ranked[1][:k]
        short = np.flatnonzero((rows >= 0).sum(axis=1) < min(k, available))
        if len(short):
            every = np.arange(len(self._vectors)) if allowed is None else np.flatnonzero(allowed)
            whole = ExactSearch(self, every, self._vectors.shape[1])
            found = min(k, available)
            similarities[short, :found], rows[short, :found] = whole.search(queries[short], found)
        return similarities, rows

    def _proposed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, available: int
    ) -> NDArray[np.int64]:
        """Rows [B,W] that the index takes for near, -1 as filler."""
        wide = min(len(self._vectors), max(k, min(k * self._candidate.widen, MOST_PROPOSED)))
        effort = self._effort_for(wide, available, filtered=allowed is not None)
        # FAISS keeps an address in these bits, no reference to them.
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else SWIG.IDSelectorBitmap(bits)
        how = parameters(self._index, self._candidate, effort, selector)
        _, rows = self._index.search(queries, wide, params=how)
        found: NDArray[np.int64] = rows
        return found

    def _effort_for(self, wide: int, available: int, *, filtered: bool) -> int:
        """The effort of a search for `wide` rows; as many of `available` ones are met as would be without a filter."""
        rows = len(self._vectors)
        effort = self.effort * (FILTER_EFFORT if filtered else 1) * rows / max(1, available)
        if self._candidate.family is Family.GRAPH:
            return min(rows, max(self.effort, wide, min(MOST_PROPOSED, math.ceil(effort))))
        lists = lists_of(rows)
        needed = PROPOSED_PER_ROW * wide * lists / max(1, available)
        return min(lists, math.ceil(max(effort, needed)))

    def _ranked(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Nearest:
        """`rows` by their similarity to `query`, descending."""
        similarities = (self._vectors[rows].astype(np.float32) @ query) * self._scales[rows]
        order = np.argsort(-similarities, kind="stable")
        return similarities[order], rows[order]

    def _prepare(self) -> None:
        if threading.get_ident() != self._owner:
            raise RuntimeError("a FAISS index belongs to the thread that adopted it")
        prepare(self._threads, self._vectors.shape[1])


def inverse_lengths(vectors: Vectors) -> NDArray[np.float32]:
    """1 / length of each vector, float32 [V]: float16 vectors are of length 1 only about."""
    scales = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), PART_ROWS):
        part = float32(vectors[start : start + PART_ROWS])
        scales[start : start + PART_ROWS] = 1.0 / lengths(part)
    return scales
