"""The nearest products among the vectors of one revision, by any search over them.

Rule: the search returns vectors; it is asked for more of them where the first ones do not settle which products are
nearest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.groups import distinct_groups, first_attempt_for_groups
from sightline_server.index.neighbours import Hit, HitColumns, IdOrder, distinct_products, first_attempt
from sightline_server.index.vectors import Search

WIDENING = 4
CALL_HITS = 4_000_000
"""Hits that one call of the index returns at most, 48 MB of them, unless one query alone asks for more."""


Ask = Callable[[Sequence[int], int], Iterable[tuple[int, list[Hit] | None]]]
"""For some queries and a number of vectors, the nearest products among those nearest to each; None where they do not
settle it."""


def first_count(k: int, by_group: Sequence[bool], max_images: int) -> int:
    """The number of vectors to ask for first, for products of at most `max_images`."""
    return max(first_attempt(k, max_images), first_attempt_for_groups(k) if any(by_group) else 0)


def settled(queries: int, first: int, most: int, ask: Ask) -> list[list[Hit]]:
    """The nearest products of each of so many queries: asks for `first` vectors, then for more, at most `most`."""
    found: dict[int, list[Hit]] = {}
    left = list(range(queries))
    count = min(first, most)
    while left:
        found |= {query: chosen for query, chosen in ask(left, count) if chosen is not None}
        left = [query for query in left if query not in found]
        count = min(count * WIDENING, most)
    return [found[query] for query in range(queries)]


def products_among(
    hits: HitColumns, k: int, order: IdOrder, groups: NDArray[np.integer[Any]] | None, *, exhausted: bool
) -> list[Hit] | None:
    """The nearest products among `hits`, or those of the nearest of `groups` [N]; None where more hits are needed."""
    if groups is not None:
        return distinct_groups(hits, groups, k, order, exhausted=exhausted)
    return distinct_products(hits.hits(), k, order, exhausted=exhausted)


def checked_grouping(
    queries: NDArray[np.float32], dimension: int, k: int, by_group: Sequence[bool] | None
) -> Sequence[bool]:
    """`by_group` for each query. Raises `SightlineError` of kind INTERNAL for queries that do not fit a snapshot."""
    grouped = [False] * len(queries) if by_group is None else by_group
    if queries.ndim != 2 or queries.shape[1] != dimension or k < 1 or len(grouped) != len(queries):
        raise SightlineError(ErrorKind.INTERNAL, "a query does not fit the index")
    return grouped


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
        """The nearest products of each query."""

        def ask(asked: Sequence[int], count: int) -> Iterator[tuple[int, list[Hit] | None]]:
            exhausted = count >= search.max_k
            for query, hits in self._hits(search, queries, asked, count):
                groups = self._table.groups_of(hits.products) if by_group[query] else None
                yield query, products_among(hits, k, self._table.id_order, groups, exhausted=exhausted)

        return settled(len(queries), first_count(k, by_group, self._max_images), search.max_k, ask)

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
