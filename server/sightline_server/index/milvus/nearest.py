"""Nearest image rows of Milvus -> nearest products, by the rules that every backend has.

Rule: `index/nearest.py` decides, as for every backend; here for rows that bring the facts of their products with them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.index.milvus.fields import PRIMARY
from sightline_server.index.nearest import first_count, products_among, settled
from sightline_server.index.neighbours import Hit, HitColumns, IdOrder


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


def shown_all(found: Sequence[Found]) -> Sequence[Found]:
    """Every row, of a collection that does not change."""
    return found


Search = Callable[[NDArray[np.float32], int], list[list[Found]]]
"""The nearest image rows of queries [B,D], so many for each, most similar first; fewer where there are no more."""


def nearest_products(
    search: Search,
    queries: NDArray[np.float32],
    k: int,
    by_group: Sequence[bool],
    *,
    max_images: int,
    most: int,
    shown: Callable[[Sequence[Found]], Sequence[Found]] = shown_all,
) -> list[list[Neighbour]]:
    """As `ports.Snapshot.nearest`. No product has more than `max_images`; a search returns at most `most` rows, of
    which those that `shown` drops do not count.
    """
    found: dict[int, Sequence[Found]] = {}

    def ask(asked: Sequence[int], count: int) -> Iterator[tuple[int, list[Hit] | None]]:
        for query, every in zip(asked, search(queries[asked], count), strict=True):
            rows = found[query] = shown(every)
            exhausted = count >= most or len(every) < count
            groups = np.array([each.group for each in rows], np.int64) if by_group[query] else None
            yield query, products_among(columns_of(rows), k, order_of(rows), groups, exhausted=exhausted)

    chosen = settled(len(queries), first_count(k, by_group, max_images), most, ask)
    return [as_neighbours(hits, found[query]) for query, hits in enumerate(chosen)]


def columns_of(found: Sequence[Found]) -> HitColumns:
    """The rows as hits."""
    return HitColumns(
        np.array([each.similarity for each in found], np.float32),
        np.array([each.product for each in found], np.int64),
        np.array([each.image for each in found], np.int64),
    )


def as_neighbours(chosen: Sequence[Hit], found: Sequence[Found]) -> list[Neighbour]:
    """The chosen hits as neighbours."""
    by_image = {each.image: each for each in found}
    return [by_image[hit.vector].neighbour(hit.similarity) for hit in chosen]


def order_of(found: Sequence[Found]) -> IdOrder:
    """The order of the products of these rows by the UTF-8 bytes of their ids."""
    ids = {each.product: each.product_id for each in found}

    def ranks(rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        asked = [ids[int(row)].encode() for row in rows]
        places = {text: place for place, text in enumerate(sorted(set(asked)))}
        return np.array([places[text] for text in asked], np.int64)

    return ranks
