"""The ways of searching the vectors that match a filter; the snapshot treats each like an index.

Rule: every row that comes back is one of the allowed ones, checked where an index had the choice. All run in the thread
that owns the index.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.vectors import VectorIndex

Nearest = tuple[NDArray[np.float32], NDArray[np.int64]]
PART_BYTES = 32 * 1024 * 1024
"""Of vectors that are copied at once."""


class GatherSearch:
    """Over copies of the vectors `rows` [N] of `index`."""

    def __init__(self, index: VectorIndex, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._gathered = index.subset(rows)
        self.max_k = len(rows)

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are those of the index."""
        similarities, places = self._gathered.search(queries, k)
        return similarities, np.where(places >= 0, self._rows[places], -1)


class SelectorSearch:
    """By `index`, which skips the vectors whose `allowed` [V] is false; `count` of them are true.

    Each query is compared by itself: `BatchedSearch` is for batches.
    """

    def __init__(self, index: VectorIndex, allowed: NDArray[np.bool_], count: int) -> None:
        self._index = index
        self._allowed = allowed
        self.max_k = min(count, index.max_k)

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are those of the index. Raises `RuntimeError` for a row that is not allowed."""
        similarities, rows = self._index.search_allowed(queries, k, self._allowed)
        if not self._allowed[rows[rows >= 0]].all():
            raise RuntimeError("the index returned a vector that the filter excludes")
        return similarities, rows


class ExactSearch:
    """Over the vectors `rows` [N] of `index`, some of them at a time, so that few are copied at once."""

    def __init__(
        self, index: VectorIndex, rows: NDArray[np.int64], dimension: int, part_bytes: int = PART_BYTES
    ) -> None:
        self._index = index
        self._rows = rows
        self._part = max(1, part_bytes // (4 * dimension))
        self.max_k = len(rows)

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are those of the index."""
        similarities = np.empty((len(queries), 0), np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        for start in range(0, len(self._rows), self._part):
            part = GatherSearch(self._index, self._rows[start : start + self._part])
            more, further = part.search(queries, min(k, part.max_k))
            similarities, rows = best(np.hstack([similarities, more]), np.hstack([rows, further]), k)
        return similarities, rows


class BatchedSearch:
    """By a selector for few queries, and in parts for `parts_from` and more, where both give the nearest vectors."""

    def __init__(self, selector: SelectorSearch, parts: ExactSearch, parts_from: int) -> None:
        self._selector = selector
        self._parts = parts
        self._parts_from = parts_from
        self.max_k = selector.max_k

    def search(self, queries: NDArray[np.float32], k: int) -> Nearest:
        """See `vectors.Search`; rows are those of the index."""
        chosen = self._selector if len(queries) < self._parts_from else self._parts
        return chosen.search(queries, k)


def best(similarities: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Nearest:
    """The `k` most similar ones of each query, or all where there are fewer."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)
