"""Nearest vectors -> nearest products by item group: filled with groups, each group's nearest products, order kept."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.index.groups import MEMBERS, distinct_groups
from sightline_server.index.neighbours import SAME_SIMILARITY, Hit, HitColumns, distinct_products
from sightline_server.index.products import group_numbers
from tests.unit.index.test_index_neighbours import backwards

PRODUCTS = 12


@st.composite
def hit_columns(draw: st.DrawFn) -> HitColumns:
    """Hits in descending similarity; few levels and few products, so that ties and repeats are common."""
    drawn = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, PRODUCTS - 1)), max_size=40))
    found = sorted(((level / 10 + jitter * SAME_SIMILARITY / 10, product) for level, jitter, product in drawn), key=top)
    return columns([similarity for similarity, _ in found], [product for _, product in found])


def top(pair: tuple[float, int]) -> float:
    return -pair[0]


def columns(similarities: Sequence[float], products: Sequence[int]) -> HitColumns:
    """Hits by similarity and product row."""
    rows = np.array(products, np.int64)
    # float64 keeps the jitter exact; the code under test does not depend on the width.
    return HitColumns(np.array(similarities), rows, np.arange(len(rows)))


def expected(hits: HitColumns, groups: Sequence[int], k: int) -> list[Hit]:
    """Every product nearer than the first one of group k + 1, product by product."""
    products = distinct_products(hits.hits(), PRODUCTS, backwards, exhausted=True) or []
    seen: list[int] = []
    chosen: list[Hit] = []
    for hit in products:
        if groups[hit.product] not in seen:
            seen.append(groups[hit.product])
        if len(seen) > k:
            break
        chosen.append(hit)
    return chosen


GROUPS = st.lists(st.integers(0, 5), min_size=PRODUCTS, max_size=PRODUCTS)


@given(hit_columns(), GROUPS, st.integers(1, 8))
def test_the_answer_is_every_product_nearer_than_the_next_group(hits: HitColumns, groups: list[int], k: int) -> None:
    numbers = np.array(groups)[hits.products]
    assert distinct_groups(hits, numbers, k, backwards, exhausted=True) == expected(hits, groups, k)


@given(hit_columns(), GROUPS, st.integers(1, 8), st.integers(0, 40))
def test_a_prefix_gives_the_whole_answer_or_asks_for_more(
    hits: HitColumns, groups: list[int], k: int, length: int
) -> None:
    part = hits.take(slice(length))
    numbers = np.array(groups)
    exhausted = length >= len(hits.products)
    chosen = distinct_groups(part, numbers[part.products], k, backwards, exhausted=exhausted)
    assert chosen in (None, distinct_groups(hits, numbers[hits.products], k, backwards, exhausted=True))
    if exhausted:
        assert chosen is not None


def test_too_few_groups_ask_for_more() -> None:
    hits = columns([0.9, 0.8, 0.7, 0.6], [0, 1, 2, 3])
    groups = np.array([7, 7, 8, 8])
    assert distinct_groups(hits, groups, 2, backwards, exhausted=False) is None
    assert [hit.product for hit in distinct_groups(hits, groups, 2, backwards, exhausted=True) or []] == [0, 1, 2, 3]
    assert [hit.product for hit in distinct_groups(hits, groups, 1, backwards, exhausted=False) or []] == [0, 1]


def test_a_group_of_thousands_gives_its_nearest_members_and_the_groups_behind_it() -> None:
    hits = columns([0.9] * 5000 + [0.5, 0.4, 0.3], list(range(5003)))
    groups = np.array([0] * 5000 + [1, 2, 3])
    chosen = distinct_groups(hits, groups, 2, backwards, exhausted=True) or []
    # Of equal similarities those with the smallest ids, which are the last rows.
    assert [hit.product for hit in chosen] == [*range(4999, 4999 - MEMBERS, -1), 5000]


def test_nothing_found() -> None:
    nothing = columns([], [])
    assert distinct_groups(nothing, nothing.products, 3, backwards, exhausted=True) == []
    assert distinct_groups(nothing, nothing.products, 3, backwards, exhausted=False) is None


@pytest.mark.parametrize("dictionary", [["", "cup", "", "bowl", "cup", None], ["cup", "a", "b", "bowl", "cup", "c"]])
def test_products_without_a_group_are_groups_of_their_own(dictionary: list[str | None]) -> None:
    numbers = group_numbers(pa.chunked_array([dictionary[:2], dictionary[2:]], pa.string())).tolist()
    assert numbers[1 if dictionary[1] == "cup" else 0] == numbers[4]
    assert len(set(numbers)) == 5


def test_no_products_have_no_groups() -> None:
    assert group_numbers(pa.chunked_array([], pa.string())).tolist() == []
