"""Nearest vectors -> nearest products: no product twice, order kept, nothing nearer left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.index.neighbours import (
    SAME_SIMILARITY,
    Hit,
    distinct_products,
    enough_vectors,
    first_attempt,
)

# Steps far above and far below the width of a tie, so that what ties is certain.
LEVELS = st.integers(0, 6)
JITTER = st.integers(0, 4)


@st.composite
def hit_lists(draw: st.DrawFn) -> list[Hit]:
    """Hits in descending similarity; few levels and few products, so that ties and repeats are common."""
    drawn = draw(st.lists(st.tuples(LEVELS, JITTER, st.integers(0, 9)), max_size=40))
    found = [(level / 10 + jitter * SAME_SIMILARITY / 10, product) for level, jitter, product in drawn]
    found.sort(key=lambda pair: -pair[0])
    return [Hit(similarity, product, vector) for vector, (similarity, product) in enumerate(found)]


def backwards(rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Ids in the opposite order of the rows, so that one cannot pass for the other."""
    return 100 - np.asarray(rows, np.int64)


def level(similarity: float) -> int:
    return round(similarity * 10)


@given(hit_lists(), st.integers(1, 12))
def test_every_product_once_by_its_best_picture_ties_by_id(hits: list[Hit], k: int) -> None:
    chosen = distinct_products(hits, k, backwards, exhausted=True)

    assert chosen is not None
    best: dict[int, int] = {}
    for hit in hits:
        best[hit.product] = max(best.get(hit.product, -1), level(hit.similarity))
    expected = sorted(best, key=lambda product: (-best[product], 100 - product))[:k]
    assert [hit.product for hit in chosen] == expected
    assert [level(hit.similarity) for hit in chosen] == [best[product] for product in expected]
    assert [hit.similarity for hit in chosen] == sorted((hit.similarity for hit in chosen), reverse=True)
    assert all(hits[hit.vector].product == hit.product for hit in chosen)


@given(hit_lists(), st.integers(1, 12), st.integers(0, 40))
def test_a_prefix_gives_the_whole_answer_or_asks_for_more(hits: list[Hit], k: int, length: int) -> None:
    chosen = distinct_products(hits[:length], k, backwards, exhausted=length >= len(hits))
    assert chosen in (None, distinct_products(hits, k, backwards, exhausted=True))


@given(hit_lists(), st.integers(1, 5), st.integers(1, 4))
def test_enough_vectors_are_enough_unless_a_tie_goes_on(hits: list[Hit], k: int, max_images: int) -> None:
    kept: list[Hit] = []
    for hit in hits:
        if sum(other.product == hit.product for other in kept) < max_images:
            kept.append(hit)
    asked = kept[: enough_vectors(k, max_images)]
    if len(asked) == enough_vectors(k, max_images):
        assert len({hit.product for hit in asked}) >= k
    assert first_attempt(k, max_images) <= enough_vectors(k, max_images)


def test_too_few_products_ask_for_more() -> None:
    hits = [Hit(0.9, 1, 0), Hit(0.8, 1, 1), Hit(0.7, 2, 2)]
    assert distinct_products(hits, 3, backwards, exhausted=False) is None
    assert [hit.product for hit in distinct_products(hits, 3, backwards, exhausted=True) or []] == [1, 2]


def test_nothing_found() -> None:
    assert distinct_products([], 5, backwards, exhausted=True) == []
    assert distinct_products([], 5, backwards, exhausted=False) is None
