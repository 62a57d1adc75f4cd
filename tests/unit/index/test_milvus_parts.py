"""The parts of a catalog in Milvus that need no Milvus: names, expressions, kept products, nearest products."""

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.catalogs import NAME
from sightline_server.domain.filters import AttributeCondition, Filter, PriceRange
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus import fields
from sightline_server.index.milvus.expressions import NOTHING, both, expression, quoted
from sightline_server.index.milvus.names import alias_of, collections_of, new_collection
from sightline_server.index.milvus.nearest import Found, nearest_products
from sightline_server.index.milvus.shown import ShownProducts
from tests.support.backend_shop import ids, many
from tests.support.backends import Reference
from tests.support.catalogs import unit_vectors
from tests.support.reference_snapshot import as_stored

NAMES = st.from_regex(NAME, fullmatch=True)
LITERAL = re.compile(r'"(?:[^"\\\n\r]|\\["\\nr])*"')


@given(NAMES, NAMES)
def test_no_two_catalogs_share_a_name_in_milvus_or_its_beginning(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", new_collection(one))
    assert new_collection(one).startswith(collections_of(one))
    if one != other:
        assert alias_of(one) != alias_of(other)
        assert not new_collection(other).startswith(collections_of(one))


@given(st.text())
def test_a_text_is_one_literal_whatever_it_has(text: str) -> None:
    literal = quoted(text)
    assert LITERAL.fullmatch(literal)
    unescaped = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), literal[1:-1])
    assert unescaped == text


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), ""),
        (Filter(brands=("Norrvik ", "")), 'brand_form in ["norrvik"]'),
        (Filter(brands=(" ",), product_ids=("a",)), NOTHING),
        (Filter(categories=("A > b",)), 'array_contains_any(category_forms, ["a\x1fb"])'),
        (Filter(attributes=(AttributeCondition("Fit Type", ("Slim",)),)), "array_contains_any(attribute_forms, ["),
        (Filter(product_ids=('a" or "',)), 'id in ["a\\" or \\""]'),
        (Filter(excluded_product_ids=("a", "b")), 'not (id in ["a", "b"])'),
        (Filter(excluded_item_group_ids=("",)), ""),
        (
            Filter(prices=(PriceRange("USD", Decimal("1.00005"), Decimal("2")), PriceRange("EUR"))),
            '((currency == "USD" and amount >= 10001 and amount <= 20000) or (currency == "EUR"))',
        ),
        (
            Filter(availabilities=("in stock",), item_group_ids=("G",)),
            'availability_form in ["in_stock"] and item_group_id in ["G"]',
        ),
    ],
)
def test_a_filter_is_an_expression(wanted: Filter, expected: str) -> None:
    assert expression(wanted).startswith(expected)
    assert bool(expression(wanted)) is bool(expected)


def test_expressions_are_joined_whole() -> None:
    assert both("a or b", "c") == "(a or b) and (c)"
    assert (both("", "c"), both("a", ""), both("", "")) == ("c", "a", "")


def test_categories_are_found_by_every_category_above_them() -> None:
    assert fields.ancestors("a\x1fb\x1fc") == ["a", "a\x1fb", "a\x1fb\x1fc"]
    assert fields.ancestors("") == []


def test_a_text_that_milvus_has_no_room_for_names_its_product() -> None:
    for attempt in (
        lambda: fields.checked_text("p1", "title", "é" * 32_768),
        lambda: fields.checked_list("p1", "attributes", ["x"] * 4_097),
    ):
        with pytest.raises(SightlineError, match="product 'p1'") as caught:
            attempt()
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert fields.checked_text("p1", "title", "x" * 65_535)


def test_rows_go_in_calls_of_bounded_size_and_in_order() -> None:
    def row(image: int, text: str) -> fields.Row:
        texts = dict.fromkeys(fields.TEXTS, "") | {"title": text}
        lists: dict[str, list[str]] = {name: [] for name in fields.LISTS}
        return {fields.PRIMARY: image, fields.VECTOR: np.zeros(8, np.float32), **texts, **lists}

    small = [row(image, "chair") for image in range(1201)]
    assert [len(part) for part in fields.in_calls(small)] == [500, 500, 201]
    large = [row(image, "x" * 6_000_000) for image in range(5)]
    parts = list(fields.in_calls(large))
    assert [each[fields.PRIMARY] for part in parts for each in part] == list(range(5))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert list(fields.in_calls([])) == []


def test_products_are_kept_for_as_long_as_a_call_may_take_and_then_dropped() -> None:
    now = 0.0
    shown = ShownProducts(kept_s=10.0, clock=lambda: now)
    shown.keep(5, "5.jpg", 1, Product("a"))
    shown.keep(7, "7.jpg", 2, Product("b"))
    now = 9.0
    assert sorted(shown.missing({5, 7, 8})) == [8]
    now = 12.0
    assert shown.missing({5}) == [], "and asked for, it stays for another call"
    assert [each.id for each in shown.products([1, 2])] == ["a", "b"]
    assert shown.links([7, 5]) == ["7.jpg", "5.jpg"]
    now = 23.0
    assert shown.missing({7}) == [7], "nobody has asked for it for longer than a call takes"
    assert shown.links([5]) == ["5.jpg"]
    with pytest.raises(SightlineError) as caught:
        shown.products([2])
    assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE


@pytest.mark.parametrize("k", [1, 3, 10, 80, 500])
async def test_nearest_products_are_those_of_the_reference_in_as_few_searches_as_settle_them(k: int) -> None:
    rows = many(120)
    stored = np.concatenate([as_stored(row.embeddings) for row in rows])
    owners = [place for place, row in enumerate(rows) for _ in row.images]
    expected = Reference().revision(rows)
    queries, grouped = unit_vectors(6, 2), [False, True] * 3
    asked: list[int] = []
    group = {place: each.group for each in (await expected.nearest(queries[:1], 500))[0] for place in [each.row]}

    def search(part: NDArray[np.float32], count: int) -> list[list[Found]]:
        asked.append(count)
        similarities = part @ stored.T
        nearest = np.argsort(-similarities, axis=1)[:, :count]
        return [
            [found_row(image, float(line[image])) for image in images]
            for line, images in zip(similarities, nearest.tolist(), strict=True)
        ]

    def found_row(image: int, similarity: float) -> Found:
        product: Any = rows[owners[image]].product
        place = owners[image]
        return Found(similarity, image, place, product.id, product.category, product.availability, group[place])

    found = nearest_products(search, queries, k, grouped, max_images=5, most=len(owners))
    assert [ids(one) for one in found] == [ids(one) for one in await expected.nearest(queries, k, grouped)]
    assert asked == sorted(set(asked)) and asked[-1] <= len(owners)
