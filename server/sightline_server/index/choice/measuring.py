"""The figures by which indexes are compared: recall@10, latency, and from how many matches on a filter may use them.

Rule: recall is of the rows that come back, compared by the catalog's own vectors, and never of what an index says about
itself. Searches are those of the server: as many rows as it asks for to find ten products.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.filters.searches import ExactSearch
from sightline_server.index.half_floats import float32
from sightline_server.index.neighbours import first_attempt
from sightline_server.index.probes import CANDIDATES, SAME, moved, nearest_vectors
from sightline_server.index.selfcheck import NEAREST
from sightline_server.index.vectors import Search, VectorIndex, Vectors

SEARCH_K = first_attempt(NEAREST, CANDIDATES)
"""Vectors that a search for ten products asks for."""
ROUNDS = 3
FILTER_PROBES = 64
FILTER_RUNS = 3
SHARES = (0.5, 0.2, 0.05)
CATEGORIES = 8

SearchFunction = Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], NDArray[np.int64]]]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """N queries float32 [N,D] over `vectors` [V,D]; `tenth` [N] are the similarities of their tenth nearest vectors."""

    vectors: Vectors
    queries: NDArray[np.float32]
    tenth: NDArray[np.float32]

    @property
    def k(self) -> int:
        """The rows of an answer that count."""
        return min(NEAREST, len(self.vectors))

    def recall(self, search: SearchFunction) -> float:
        """The share of the nearest vectors that `search` finds, 0..1; equally near ones may stand for each other."""
        found = [search(self.queries[place : place + 1], self._asked)[1][0] for place in range(len(self.queries))]
        right = [self._right(place, rows[: self.k]) for place, rows in enumerate(found)]
        return sum(right) / (self.k * len(right))

    def latencies_ms(self, search: SearchFunction) -> tuple[float, float]:
        """Median and 99th percentile of single queries: the best of some rounds, because other work disturbs some."""
        rounds = [[self._ms(search, place) for place in range(len(self.queries))] for _ in range(ROUNDS)]
        p50, p99 = np.percentile(rounds, (50, 99), axis=1).min(axis=1).tolist()
        return round(p50, 3), round(p99, 3)

    @property
    def _asked(self) -> int:
        return min(SEARCH_K, len(self.vectors))

    def _right(self, place: int, rows: NDArray[np.int64]) -> int:
        """The number of distinct rows that are as near as the tenth nearest vector."""
        distinct = np.unique(rows[rows >= 0])
        vectors = float32(self.vectors[distinct])
        similarities = (vectors @ self.queries[place]) / np.linalg.norm(vectors, axis=1)
        return int(np.count_nonzero(similarities >= self.tenth[place] - SAME))

    def _ms(self, search: SearchFunction, place: int) -> float:
        began = time.perf_counter()
        search(self.queries[place : place + 1], self._asked)
        return (time.perf_counter() - began) * 1e3


def trial_of(vectors: Vectors, revision: str) -> Trial:
    """The trial of `revision`: the queries of its probes, with exact answers."""
    queries = moved(vectors, revision)
    truth = nearest_vectors(queries, vectors, NEAREST)
    return Trial(vectors, queries, truth.similarities[:, -1])


def selector_from(index: VectorIndex, trial: Trial, least_recall: float, limits: PlanLimits) -> int:
    """The least number of matching vectors from which on a filter may search `index`; V + 1 for never.

    Measured on filters like categories, which let whole regions through: for each number, the index must find
    `least_recall` of what an exact search over the matches finds, and take no longer.
    """
    vectors, found = trial.vectors, len(trial.vectors) + 1
    for share in SHARES:
        allowed = like_categories(vectors, share)
        rows = np.flatnonzero(allowed)
        if 4 * len(rows) * vectors.shape[1] <= limits.gather_bytes:
            break
        exact = ExactSearch(index, rows, vectors.shape[1])
        if not good_enough(index, exact, allowed, trial.queries[:FILTER_PROBES], least_recall):
            break
        found = len(rows)
    return found


def good_enough(
    index: VectorIndex,
    exact: Search,
    allowed: NDArray[np.bool_],
    queries: NDArray[np.float32],
    least_recall: float,
) -> bool:
    """Returns whether `index` finds what `exact` finds, and as fast."""
    k = min(SEARCH_K, exact.max_k)
    expected = exact.search(queries, k)[0][:, :NEAREST]
    found = index.search_allowed(queries, k, allowed)[0][:, :NEAREST]
    if float(np.mean(found >= expected[:, -1:] - SAME)) < least_recall:
        return False
    by_index = median_ms(lambda query: index.search_allowed(query, k, allowed), queries)
    return by_index <= median_ms(lambda query: exact.search(query, k), queries)


def median_ms(search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> float:
    """The median of some single queries."""
    taken = []
    for query in queries[:FILTER_RUNS]:
        began = time.perf_counter()
        search(query[np.newaxis])
        taken.append((time.perf_counter() - began) * 1e3)
    return float(np.median(taken))


def like_categories(vectors: Vectors, share: float) -> NDArray[np.bool_]:
    """A mask of the `share` of the vectors that are nearest to one of some of them, bool [V]."""
    random = np.random.default_rng(0)
    centres = vectors[random.choice(len(vectors), min(CATEGORIES, len(vectors)), replace=False)].astype(np.float32)
    nearest = np.concatenate(
        [(float32(vectors[start : start + 65_536]) @ centres.T).max(axis=1) for start in range(0, len(vectors), 65_536)]
    )
    allowed: NDArray[np.bool_] = nearest >= np.quantile(nearest, 1 - share)
    return allowed
