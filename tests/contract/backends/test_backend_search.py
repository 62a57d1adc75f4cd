"""The nearest products, on every backend: order, ties, images, batches, and what a neighbour leads to."""

import numpy as np
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from tests.support.backend_shop import MANY, ahead, direction, ids, many, near, product
from tests.support.backends import Backend, Reference
from tests.support.catalogs import DIMENSION, unit_vectors

FOUR = ahead([product("b", near(0.5)), product("a", near(0.75)), product("c", near(-0.25)), product("d", near(1.0))])


async def test_the_most_similar_product_comes_first_with_its_cosine(backend: Backend) -> None:
    [found] = await backend.revision(FOUR).nearest(direction(1.0), 4)
    assert ids(found) == ["d", "a", "b", "c"]
    assert [each.similarity for each in found] == pytest.approx([1.0, 0.75, 0.5, -0.25], abs=2e-3)


IMAGES = np.concatenate([near(0.2), near(0.9), near(0.8), near(0.7), near(0.6)])
SEVERAL_IMAGES = ahead([product("many", IMAGES), product("one", near(0.5)), product("far", near(0.1))])


async def test_a_product_counts_once_by_its_closest_image(backend: Backend) -> None:
    snapshot = backend.revision(SEVERAL_IMAGES)
    [found] = await snapshot.nearest(direction(1.0), 3)
    assert ids(found) == ["many", "one", "far"]
    assert snapshot.image_links([each.image for each in found]) == ["many/1.jpg", "one/0.jpg", "far/0.jpg"]


TIED = ["p2", "p10", "P1", "é", "a", "z", "p1"]
TIES = ahead([product(name, near(0.5)) for name in TIED] + [product("first", near(0.9))])


async def test_equal_similarities_are_ordered_by_product_id(backend: Backend) -> None:
    snapshot = backend.revision(TIES)
    for k in (1, 3, 5, 8):
        [found] = await snapshot.nearest(direction(1.0), k)
        assert ids(found) == ["first", *sorted(TIED, key=str.encode)][:k]


async def test_it_finds_what_comparing_every_vector_finds(backend: Backend) -> None:
    queries = unit_vectors(30, 99)
    expected = await Reference().revision(MANY).nearest(queries, 20)
    found = await backend.revision(MANY).nearest(queries, 20)
    if backend.exact:
        assert [ids(each) for each in found] == [ids(each) for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert [each.similarity for each in one] == pytest.approx([each.similarity for each in other], abs=1e-5)
    right = [len({*ids(one)} & {*ids(other)}) for one, other in zip(found, expected, strict=True)]
    assert sum(right) / (20 * len(queries)) >= 0.95, "recall@20"


async def test_a_query_gets_in_a_batch_what_it_gets_alone(backend: Backend) -> None:
    snapshot = backend.revision(MANY)
    queries = unit_vectors(12, 5)
    together = await snapshot.nearest(queries, 7)
    for place, found in enumerate(together):
        [alone] = await snapshot.nearest(queries[place : place + 1], 7)
        assert ids(alone) == ids(found)


FIVE = ahead(many(5))


async def test_a_small_catalog_returns_all_of_its_products(backend: Backend) -> None:
    [found] = await backend.revision(FIVE).nearest(unit_vectors(1, 3), 100)
    assert sorted(ids(found)) == sorted(row.product.id for row in FIVE)


async def test_a_neighbour_leads_to_its_product_and_its_image(backend: Backend) -> None:
    rows = {row.product.id: row for row in MANY}
    snapshot = backend.revision(MANY)
    [found] = await snapshot.nearest(unit_vectors(1, 8), 40)
    products = snapshot.products([each.row for each in found])
    links = snapshot.image_links([each.image for each in found])
    for each, shown, link in zip(found, products, links, strict=True):
        expected = rows[each.product_id]
        assert shown == expected.product
        assert (each.category, each.availability) == (expected.product.category, expected.product.availability)
        assert link in expected.images
    assert not snapshot.products([])
    assert not snapshot.image_links([])


TEXTS = ["", " ", "'\"\\", "é漢\U0001f600", "line\nbreak\ttab", "null", "{}", "x" * 4000]
TEXTED = ahead(
    [
        product(f"p{place}", near(0.5), title=text, brand=text, link=text, attributes={"note": text} if text else {})
        for place, text in enumerate(TEXTS)
    ]
)


async def test_texts_come_back_as_they_were_written(backend: Backend) -> None:
    snapshot = backend.revision(TEXTED)
    [found] = await snapshot.nearest(direction(1.0), 100)
    assert snapshot.products([each.row for each in found]) == [row.product for row in TEXTED]


@pytest.mark.parametrize(
    ("queries", "k", "by_group"),
    [
        (unit_vectors(1, dimension=DIMENSION + 1), 1, None),
        (unit_vectors(1)[0], 1, None),
        (unit_vectors(1), 0, None),
        (unit_vectors(2), 1, [True]),
    ],
)
async def test_a_query_that_does_not_fit_is_an_internal_error(
    backend: Backend, queries: np.ndarray, k: int, by_group: list[bool] | None
) -> None:
    snapshot = backend.revision(MANY)
    with pytest.raises(SightlineError) as caught:
        await snapshot.nearest(queries, k, by_group)
    assert caught.value.kind is ErrorKind.INTERNAL
