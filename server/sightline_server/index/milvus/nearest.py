"""Nearest image rows of Milvus -> nearest products, by the rules that every backend has.

Rule: as `index/nearest.py`, for rows that bring the facts of their products with them: a product counts once, equal
similarities are ordered by product id, and more rows are asked for where the first ones do not settle it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.index.groups import distinct_groups, first_attempt_for_groups
from sightline_server.index.milvus.fields import PRIMARY
from sightline_server.index.nearest import WIDENING
from sightline_server.index.neighbours import Hit, HitColumns, IdOrder, distinct_products, first_attempt


class Found(NamedTuple):
    """One image row near a query, with what ranks its product."""

    similarity: float
    image: int
    product: int
    product_id: str
    category: str
    availability: str
    group: int

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> Self:
        """A hit of `Milvus.search`."""
        return cls(
            similarity=min(max(float(hit["distance"]), -1.0), 1.0),
            image=int(hit[PRIMARY]),
            product=int(hit["product"]),
            product_id=str(hit["id"]),
            category=str(hit["category"]),
            availability=str(hit["availability"]),
            group=int(hit["item_group"]),
        )

    def neighbour(self, similarity: float) -> Neighbour:
        """The product as a neighbour of this similarity."""
        labels = self.product_id, self.category, self.availability
        return Neighbour(self.product, self.image, similarity, *labels, self.group)


Search = Callable[[NDArray[np.float32], int], list[list[Found]]]
"""The nearest image rows of queries [B,D], so many for each, most similar first; fewer where there are no more."""


def nearest_products(
    search: Search, queries: NDArray[np.float32], k: int, by_group: Sequence[bool], *, max_images: int, most: int
) -> list[list[Neighbour]]:
    """As `ports.Snapshot.nearest`. No product has more than `max_images`; a search returns at most `most` rows."""
    settled: dict[int, list[Neighbour]] = {}
    left = list(range(len(queries)))
    count = min(max(first_attempt(k, max_images), first_attempt_for_groups(k) if any(by_group) else 0), most)
    while left:
        for query, found in zip(left, search(queries[left], count), strict=True):
            exhausted = count >= most or len(found) < count
            chosen = products_among(found, k, by_group=by_group[query], exhausted=exhausted)
            if chosen is not None:
                settled[query] = chosen
        left = [query for query in left if query not in settled]
        count = min(count * WIDENING, most)
    return [settled[query] for query in range(len(queries))]


def products_among(found: Sequence[Found], k: int, *, by_group: bool, exhausted: bool) -> list[Neighbour] | None:
    """The nearest products, or those of the nearest groups; None where more rows are needed."""
    order = order_of({each.product: each.product_id for each in found})
    columns = HitColumns(
        np.array([each.similarity for each in found], np.float32),
        np.array([each.product for each in found], np.int64),
        np.array([each.image for each in found], np.int64),
    )
    if by_group:
        groups = np.array([each.group for each in found], np.int64)
        chosen = distinct_groups(columns, groups, k, order, exhausted=exhausted)
    else:
        chosen = distinct_products(columns.hits(), k, order, exhausted=exhausted)
    return None if chosen is None else as_neighbours(chosen, found)


def as_neighbours(chosen: Sequence[Hit], found: Sequence[Found]) -> list[Neighbour]:
    """The chosen hits as neighbours."""
    by_image = {each.image: each for each in found}
    return [by_image[hit.vector].neighbour(hit.similarity) for hit in chosen]


def order_of(ids: Mapping[int, str]) -> IdOrder:
    """The order of these products by the UTF-8 bytes of their ids."""

    def ranks(rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        asked = [ids[int(row)].encode() for row in rows]
        places = {text: place for place, text in enumerate(sorted(set(asked)))}
        return np.array([places[text] for text in asked], np.int64)

    return ranks
