"""Nearest vectors -> nearest products. Pure.

Rule: a product counts once, by its closest picture. Similarities within 1e-6 of the first of their group are one
similarity (the same query differs by up to 4e-7 between batch sizes), and are ordered by product id, then by picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
