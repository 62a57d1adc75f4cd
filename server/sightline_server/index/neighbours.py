"""Nearest vectors -> nearest products. Pure.

Rule: a product counts once, by its closest picture. Similarities within 1e-6 of the first of their group are one
similarity (the same query differs by up to 4e-7 between batch sizes), and are ordered by product id, then by picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SAME_SIMILARITY = 1e-6
TIE_SLACK = 16


class Hit(NamedTuple):
    """One of the vectors that a search returned; a tuple, because every query makes hundreds."""

    similarity: float
    product: int
    """Row of its product."""
    id_rank: int
    """Place of the product's id among all ids in order."""
    vector: int
    """Row of the vector."""


@dataclass(frozen=True, slots=True)
class HitColumns:
    """The N hits of one query, most similar first: the fields of `Hit` as arrays [N]; or [B,N] for B queries."""

    similarities: NDArray[np.float32]
    products: NDArray[np.integer[Any]]
    id_ranks: NDArray[np.int32]
    vectors: NDArray[np.int64]

    def take(self, places: NDArray[np.intp] | slice) -> Self:
        """The hits at `places`."""
        return type(self)(self.similarities[places], self.products[places], self.id_ranks[places], self.vectors[places])

    def of_query(self, query: int, count: int) -> Self:
        """The first `count` hits of one of B queries."""
        return type(self)(
            self.similarities[query, :count],
            self.products[query, :count],
            self.id_ranks[query, :count],
            self.vectors[query, :count],
        )

    def hits(self) -> list[Hit]:
        """The hits one by one."""
        columns = (self.similarities, self.products, self.id_ranks, self.vectors)
        return [Hit(*hit) for hit in zip(*(column.tolist() for column in columns), strict=True)]


def enough_vectors(k: int, max_images: int) -> int:
    """How many nearest vectors hold `k` products for certain, when no product has more than `max_images`."""
    return (k - 1) * max_images + 1 + TIE_SLACK


def first_attempt(k: int, max_images: int) -> int:
    """How many vectors to ask for first: catalogs rarely have their fullest products all in one answer."""
    return min(enough_vectors(k, max_images), 4 * k + TIE_SLACK)


def distinct_products(hits: Sequence[Hit], k: int, *, exhausted: bool) -> list[Hit] | None:
    """The `k` nearest products among `hits`, which are in descending similarity; one hit each, nearest first.

    None when more hits are needed to tell: too few products, or the last group may go on beyond the last hit.
    With `exhausted` there are no more hits, and what there is is the answer.
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
        for hit in sorted(hits[start:end], key=lambda hit: (hit.id_rank, hit.vector)):
            if hit.product not in seen:
                seen.add(hit.product)
                chosen.append(Hit(top, hit.product, hit.id_rank, hit.vector))
        start = end
    if len(chosen) < k and not exhausted:
        return None
    return chosen[:k]
