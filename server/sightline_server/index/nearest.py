"""The nearest products among the vectors of one revision, by any search over them.

Rule: the search returns vectors; it is asked for more of them where the first ones do not settle which products are
nearest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.index.groups import distinct_groups, first_attempt_for_groups
from sightline_server.index.neighbours import Hit, HitColumns, IdOrder, distinct_products, first_attempt
from sightline_server.index.vectors import Search

WIDENING = 4
CALL_HITS = 4_000_000
"""Hits that one call of the index returns at most, 48 MB of them, unless one query alone asks for more."""


class RankedProducts(Protocol):
    """The facts of products by which they are ordered and grouped."""

    @property
    def id_order(self) -> IdOrder:
        """The order of their ids."""

    def groups_of(self, products: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """The number of the item group of each of `products` [N]."""

    def neighbours(self, nearest: Sequence[Sequence[Hit]]) -> list[list[Neighbour]]:
        """The hits of each query as neighbours."""


class NearestProducts:
    """Of the products of `table`; vector v is of product `owners[v]`, and no product has more than `max_images`."""

    def __init__(self, table: RankedProducts, owners: NDArray[np.int32], max_images: int) -> None:
        self._table = table
        self._owners = owners
        self._max_images = max_images

    def nearest(
        self, search: Search, queries: NDArray[np.float32], k: int, by_group: Sequence[bool]
    ) -> list[list[Neighbour]]:
        """As `ports.Snapshot.nearest`, among the vectors of `search`, in the thread that owns its index."""
        return self._table.neighbours(self._settled(search, queries, k, by_group))

    def _settled(
        self, search: Search, queries: NDArray[np.float32], k: int, by_group: Sequence[bool]
    ) -> list[list[Hit]]:
        """The nearest products of each query; asks again for more vectors where the first ones do not settle it."""
        settled: dict[int, list[Hit]] = {}
        open_queries = list(range(len(queries)))
        first = max(first_attempt(k, self._max_images), first_attempt_for_groups(k) if any(by_group) else 0)
        count = min(first, search.max_k)
        while open_queries:
            exhausted = count >= search.max_k
            for query, hits in self._hits(search, queries, open_queries, count):
                chosen = self._chosen(hits, k, by_group=by_group[query], exhausted=exhausted)
                if chosen is not None:
                    settled[query] = chosen
            open_queries = [query for query in open_queries if query not in settled]
            count = min(count * WIDENING, search.max_k)
        return [settled[query] for query in range(len(queries))]

    def _chosen(self, hits: HitColumns, k: int, *, by_group: bool, exhausted: bool) -> list[Hit] | None:
        """The nearest products among `hits`, or of the nearest groups; None where more hits are needed."""
        order = self._table.id_order
        if by_group:
            return distinct_groups(hits, self._table.groups_of(hits.products), k, order, exhausted=exhausted)
        return distinct_products(hits.hits(), k, order, exhausted=exhausted)

    def _hits(
        self, search: Search, queries: NDArray[np.float32], asked: Sequence[int], count: int
    ) -> Iterator[tuple[int, HitColumns]]:
        """The `count` nearest vectors of the queries `asked`, in calls that the memory has room for."""
        together = max(1, CALL_HITS // count)
        for start in range(0, len(asked), together):
            part = asked[start : start + together]
            similarities, vectors = search.search(queries[part], count)
            hits = HitColumns(np.clip(similarities, -1.0, 1.0), self._owners[vectors], vectors)
            for place, valid in enumerate((vectors >= 0).sum(axis=1).tolist()):
                yield part[place], hits.of_query(place, valid)
