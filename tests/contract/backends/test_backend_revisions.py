"""Revisions on every backend: deletes and updates, one revision for a call, and products found by a code."""

import random

import pytest

from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.filters import Filter
from sightline_server.ports import Snapshot
from tests.support.backend_shop import ahead, direction, ids, ids_of, many, near, product
from tests.support.backends import Backend, Reference
from tests.support.catalogs import unit_vectors

GTIN, OTHER = 4006381333931, 36000291452
FORTY = ahead(many(40))
TWENTY = ahead(FORTY[::2])


async def test_a_deleted_product_is_in_no_answer_of_the_next_revision(backend: Backend) -> None:
    first, second = backend.revision(FORTY), backend.revision(TWENTY)
    left = {row.product.id for row in TWENTY}
    assert await ids_of(second) == left if backend.exact else await ids_of(second) <= left
    gone = Filter(product_ids=tuple(row.product.id for row in FORTY[1::2]))
    assert await ids_of(await second.select(gone)) == set()
    if backend.exact:
        assert await ids_of(first) == {row.product.id for row in FORTY}, "a call keeps the revision that it began with"
    assert (first.product_count, second.product_count) == (40, 20)


OLD = ahead([product("a", near(0.9), brand="old", title="Old"), product("b", near(0.5), brand="b")])
NEW = ahead([product("a", near(0.1), brand="new", title="New"), OLD[1]])


async def test_an_update_moves_a_product_and_an_earlier_call_sees_it_where_it_was(backend: Backend) -> None:
    first, second = backend.revision(OLD), backend.revision(NEW)
    for snapshot, names, title, brand in [(first, ["a", "b"], "Old", "old"), (second, ["b", "a"], "New", "new")]:
        [found] = await snapshot.nearest(direction(1.0), 2)
        assert ids(found) == names
        [shown] = [each for each in snapshot.products([each.row for each in found]) if each.id == "a"]
        assert shown.title == title
        assert await ids_of(await snapshot.select(Filter(brands=(brand,)))) == {"a"}
        assert await ids_of(await snapshot.select(Filter(brands=("old", "new")))) == {"a"}
    assert first.revision != second.revision


BRANDED = ahead([product(f"p{number}", near(number / 10), brand="x") for number in range(5)])
TWO = ahead(BRANDED[:2])


async def test_a_filtered_call_keeps_its_revision(backend: Backend) -> None:
    selected = await backend.revision(BRANDED).select(Filter(brands=("x",)))
    backend.revision(TWO)
    assert await ids_of(selected) == {row.product.id for row in BRANDED}


def history() -> list[list[CatalogRow]]:
    """The products of each revision of a random history."""
    choice = random.Random(4)
    every = many(60, seed=9)
    present = {row.product.id: row for row in every[:30]}
    revisions = [list(present.values())]
    for _ in range(5):
        for row in choice.sample(every, 12):
            if row.product.id in present and len(present) > 5 and choice.random() < 0.6:
                del present[row.product.id]
            else:
                present[row.product.id] = row
        revisions.append(list(present.values()))
    return revisions


HISTORY = [ahead(rows) for rows in history()]


async def test_random_histories_end_in_the_products_that_are_left(backend: Backend) -> None:
    queries = unit_vectors(4, 6)
    for rows in HISTORY:
        snapshot, reference = backend.revision(rows), Reference().revision(rows)
        found, expected = await snapshot.nearest(queries, 12), await reference.nearest(queries, 12)
        assert {each for one in found for each in ids(one)} <= {row.product.id for row in rows}
        if backend.exact:
            assert [ids(one) for one in found] == [ids(one) for one in expected]


async def coded(snapshot: Snapshot, gtin: int) -> list[str]:
    """The products that a code names; as neighbours and by a search they are the same."""
    found = await snapshot.with_gtin(gtin)
    if found is None:
        return []
    [searched] = await found.snapshot.nearest(unit_vectors(1, 5), 200)
    assert sorted(ids(searched)) == sorted(ids(found.neighbours))
    assert all(each.similarity == 0 for each in found.neighbours)
    assert {each.id for each in snapshot.products([each.row for each in found.neighbours])} == set(ids(searched))
    assert all(link.endswith("/0.jpg") for link in snapshot.image_links([each.image for each in found.neighbours]))
    return sorted(ids(searched))


CODED = ahead(
    [
        product("a", unit_vectors(2, 1), gtin="4006381333931", brand="Acme"),
        product("b", unit_vectors(1, 2), gtin="0 4006381 333931", brand="Other"),
        product("c", unit_vectors(3, 3), gtin="036000291452"),
        product("wrong", unit_vectors(1, 4), gtin="4006381333932"),
    ]
)


async def test_a_code_finds_the_products_that_have_it(backend: Backend) -> None:
    snapshot = backend.revision(CODED)
    assert snapshot.has_gtins
    assert await coded(snapshot, GTIN) == ["a", "b"]
    assert await coded(snapshot, OTHER) == ["c"]
    assert await coded(snapshot, 4006381333932) == []
    assert await coded(await snapshot.select(Filter(brands=("acme",))), GTIN) == ["a"]
    assert await coded(await snapshot.select(Filter(excluded_product_ids=("a",))), GTIN) == ["b"]
    assert await coded(await snapshot.select(Filter(brands=("nobody",))), GTIN) == []
    query = unit_vectors(1, 8)
    [every] = await snapshot.nearest(query, 10)
    found = await snapshot.with_gtin(GTIN)
    assert found is not None
    [named] = await found.snapshot.nearest(query, 10)
    similarity = {each.product_id: each.similarity for each in every}
    for each in named:
        assert each.similarity == pytest.approx(similarity[each.product_id], abs=1e-5)


PLACEHOLDERS = ahead([product(f"p{number}", unit_vectors(1, number), gtin="4006381333931") for number in range(101)])


async def test_a_placeholder_that_many_products_have_names_none(backend: Backend) -> None:
    assert await coded(backend.revision(PLACEHOLDERS), GTIN) == []


UNCODED = ahead([product("a", near(0.5), gtin="12")])


async def test_a_catalog_without_codes_says_so(backend: Backend) -> None:
    snapshot = backend.revision(UNCODED)
    assert not snapshot.has_gtins
    assert await snapshot.with_gtin(GTIN) is None
