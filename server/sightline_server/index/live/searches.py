"""Searching the vectors of a state that live at a number: those of the base by its index, the others exactly.

Rule: a dead vector never comes back, and never displaces one that lives. The index is asked for more until
enough of what it returns lives; where it cannot give more, the living vectors are compared without it.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.faiss_index import GatheredVectors
from sightline_server.index.filters.searches import ExactSearch, Nearest, SelectorSearch, best
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.state import LiveState
from sightline_server.index.vectors import Search

WIDENING = 4
SPARE = 64
"""Vectors beyond those that are wanted that the first attempt asks for, where some have died."""


class LiveSearch:
    """All vectors that live in `extent` of `state`."""

    def __init__(self, state: LiveState, extent: Extent) -> None:
        self._state = state
        self._extent = extent
        self._died = state.died.values
        self._owners = state.owners.values
        base, written = state.base_images, extent.vectors - state.base_images
        self._live_base = base - extent.dead_base
        self._live_written = written - extent.dead_delta
        self._written = written
        index = state.base.index
        # An index that cannot return all of its vectors says nothing of those beyond the last one that it returned.
        self.max_k = extent.images if index.max_k >= base else min(extent.images, index.max_k)

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are vectors of the state."""
        parts = []
        if self._live_base:
            parts.append(self._among_base(queries, min(k, self._live_base)))
        if self._live_written:
            parts.append(self._among_written(queries, min(k, self._live_written)))
        return joined(parts, k)

    def _among_base(self, queries: NDArray[np.float32], k: int) -> Nearest:
        index, dead = self._state.base.index, self._extent.dead_base
        if not dead:
            return index.search(queries, min(k, index.max_k))
        most = min(k + dead, index.max_k)
        count = min(first_attempt(k, self._live_base, dead), most)
        while True:
            similarities, rows = index.search(queries, count)
            found = (rows >= 0).sum(axis=1)
            similarities, rows = self._living(similarities, rows)
            living = (rows >= 0).sum(axis=1)
            if (living >= k).all() or count == most:
                break
            count = min(count * WIDENING, most)
        # An index that may return no more, or does not visit all, has dead vectors in place of living ones.
        if ((living < k) & (living < found)).any():
            return self._compared(queries, k)
        return similarities[:, :k], rows[:, :k]

    def _living(self, similarities: NDArray[np.float32], rows: NDArray[np.int64]) -> Nearest:
        """The hits whose product lives, moved to the left."""
        dead = self._died[self._owners[np.maximum(rows, 0)]] <= self._extent.number
        return without(similarities, rows, dead)

    def _compared(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """The nearest vectors of the base that live, without asking the index which those are."""
        base = self._state.base
        living = self._died[self._owners[: self._state.base_images]] > self._extent.number
        if base.selects and base.index.exact:  # on a GPU, where one search returns only some of its vectors
            return SelectorSearch(base.index, living, self._live_base).search(queries, k)
        return ExactSearch(base.index, np.flatnonzero(living), base.index_dimension).search(queries, k)

    def _among_written(self, queries: NDArray[np.float32], k: int) -> Nearest:
        vectors = self._state.vectors.values[: self._written]
        search, dead = GatheredVectors(vectors, 1), self._extent.dead_delta
        most = min(self._written, k + dead)
        count = min(first_attempt(k, self._live_written, dead), most)
        while True:
            similarities, rows = search.search(queries, count)
            similarities, rows = self._living(similarities, np.where(rows < 0, rows, rows + self._state.base_images))
            if (rows[:, k - 1] >= 0).all() or count == most:
                return similarities[:, :k], rows[:, :k]
            count = min(count * WIDENING, most)


class PartsSearch:
    """A search of `images` vectors of the base and one of `rows` [N] of what was written; each may be missing."""

    def __init__(self, state: LiveState, base: Search | None, images: int, rows: NDArray[np.int64]) -> None:
        self._base = base
        self._rows = rows + state.base_images
        self._vectors = state.vectors.values[rows]
        whole = base is None or base.max_k >= images
        self.max_k = images + len(rows) if base is None or whole else base.max_k

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are vectors of the state."""
        parts = []
        if self._base is not None:
            parts.append(self._base.search(queries, min(k, self._base.max_k)))
        if len(self._rows):
            similarities, places = GatheredVectors(self._vectors, 1).search(queries, min(k, len(self._rows)))
            parts.append((similarities, np.where(places >= 0, self._rows[places], -1)))
        return joined(parts, k)


def first_attempt(k: int, living: int, dead: int) -> int:
    """Vectors to ask for so that `k` living ones are among them, where `dead` ones are spread among the `living`."""
    even = k * (living + dead) // living
    return even + min(dead, max(SPARE, k))


def without(similarities: NDArray[np.float32], rows: NDArray[np.int64], dropped: NDArray[np.bool_]) -> Nearest:
    """Hits [B,N] without those that are `dropped`: the others move to the left, -1 follows them."""
    gone = dropped | (rows < 0)
    order = np.argsort(gone, axis=1, kind="stable")
    ordered = np.take_along_axis(gone, order, 1)
    kept = np.where(ordered, -np.inf, np.take_along_axis(similarities, order, 1)).astype(np.float32)
    return kept, np.where(ordered, -1, np.take_along_axis(rows, order, 1))


def joined(parts: list[Nearest], k: int) -> Nearest:
    """The `k` most similar hits of all parts."""
    if len(parts) == 1:
        return parts[0]
    similarities, rows = (np.hstack(each) for each in zip(*parts, strict=True))
    return best(np.where(rows < 0, -np.inf, similarities).astype(np.float32), rows, k)
