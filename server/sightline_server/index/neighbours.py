"""Nearest vectors -> nearest products. Pure.

Rule: a product counts once, by its closest image. Similarities within 1e-6 of the first of their group are one
similarity (the same query differs by up to 4e-7 between batch sizes), and are ordered by product id, then by image.
Ids are compared only where similarities tie: an order of all ids would belong to one revision and would have to be made
again for each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SAME_SIMILARITY = 1e-6
TIE_SLACK = 16

IdOrder = Callable[[Sequence[int] | NDArray[np.integer[Any]]], NDArray[np.integer[Any]]]
"""For product rows [N], the rank of each one's id among these ids, [N]; equal ids have equal ranks."""


class Hit(NamedTuple):
    """One of the vectors that a search returned; a tuple, because every query makes hundreds."""

    similarity: float
    product: int
    """Row of its product."""
    vector: int
    """Row of the vector."""


@dataclass(frozen=True, slots=True)
class HitColumns:
    """The N hits of one query, most similar first: the fields of `Hit` as arrays [N]; or [B,N] for B queries."""

    similarities: NDArray[np.float32]
    products: NDArray[np.integer[Any]]
    vectors: NDArray[np.int64]

    def take(self, places: NDArray[np.intp] | slice) -> Self:
        """The hits at `places`."""
        return type(self)(self.similarities[places], self.products[places], self.vectors[places])

    def of_query(self, query: int, count: int) -> Self:
        """The first `count` hits of one of B queries."""
        return type(self)(self.similarities[query, :count], self.products[query, :count], self.vectors[query, :count])

    def hits(self) -> list[Hit]:
        """The hits one by one."""
        columns = (self.similarities, self.products, self.vectors)
        return [Hit(*hit) for hit in zip(*(column.tolist() for column in columns), strict=True)]


def enough_vectors(k: int, max_images: int) -> int:
    """The number of nearest vectors that certainly hold `k` products, when no product has more than `max_images`."""
    return (k - 1) * max_images + 1 + TIE_SLACK


def first_attempt(k: int, max_images: int) -> int:
    """The number of vectors to ask for first: the products with most images are rarely all in one answer."""
    return min(enough_vectors(k, max_images), 4 * k + TIE_SLACK)


def distinct_products(hits: Sequence[Hit], k: int, id_order: IdOrder, *, exhausted: bool) -> list[Hit] | None:
    """The `k` nearest products among `hits`, which are in descending similarity; one hit each, nearest first.

    None when more hits are needed to decide: too few products, or the last group may go on beyond the last hit.
    With `exhausted` there are no more hits, and these decide.
    """
    chosen: list[Hit] = []
    seen: set[int] = set()
    start = 0
    while start < len(hits) and len(chosen) < k:
        top = hits[start].similarity
        end = start + 1
        while end < len(hits) and top - hits[end].similarity <= SAME_SIMILARITY:
            end += 1
        if end == len(hits) and not exhausted:
            return None
        for hit in by_id(hits[start:end], id_order):
            if hit.product not in seen:
                seen.add(hit.product)
                chosen.append(Hit(top, hit.product, hit.vector))
        start = end
    if len(chosen) < k and not exhausted:
        return None
    return chosen[:k]


def by_id(tied: Sequence[Hit], id_order: IdOrder) -> Sequence[Hit]:
    """Hits of one similarity by product id, then by image."""
    if len(tied) == 1:
        return tied
    ranks = id_order([hit.product for hit in tied]).tolist()
    return [hit for _, _, hit in sorted((rank, hit.vector, hit) for rank, hit in zip(ranks, tied, strict=True))]
