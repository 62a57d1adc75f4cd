"""Item groups on every backend: `k` counts groups, and a large group does not crowd out the others."""

import numpy as np

from sightline_server.domain.filters import Filter
from tests.support.backend_shop import MANY, ahead, direction, ids, near, product
from tests.support.backends import Backend, Reference
from tests.support.catalogs import unit_vectors

GROUPED = ahead(
    [
        product("a1", near(0.9), item_group_id="a"),
        product("a2", near(0.8), item_group_id="a"),
        product("alone", near(0.7)),
        product("a3", near(0.6), item_group_id="a"),
        product("lonely", near(0.5)),
        product("b1", near(0.4), item_group_id="b"),
    ]
)


async def test_k_counts_groups_and_a_product_without_one_is_its_own(backend: Backend) -> None:
    snapshot = backend.revision(GROUPED)
    expected = {1: ["a1", "a2"], 2: ["a1", "a2", "alone", "a3"], 3: ["a1", "a2", "alone", "a3", "lonely"]}
    for k, names in expected.items():
        [found] = await snapshot.nearest(direction(1.0), k, [True])
        assert ids(found) == names
    groups = {each.product_id: each.group for each in found}
    assert groups["a1"] == groups["a2"] == groups["a3"]
    assert len({groups["a1"], groups["alone"], groups["lonely"]}) == 3


CROWD = [product(f"crowd{number:03}", near(0.9), item_group_id="crowd") for number in range(250)]
CROWDED = ahead([*CROWD, *(product(f"other{number}", near(0.5 - number / 100)) for number in range(5))])


async def test_a_large_group_does_not_hide_the_groups_behind_it(backend: Backend) -> None:
    [found] = await backend.revision(CROWDED).nearest(direction(1.0), 4, [True])
    names = ids(found)
    if not backend.exact:
        # A graph of hundreds of equal vectors leads to few of the others.
        assert len([each for each in names if each.startswith("crowd")]) <= 100
        return
    assert [each for each in names if each.startswith("other")] == ["other0", "other1", "other2"]
    assert [each for each in names if each.startswith("crowd")] == [f"crowd{number:03}" for number in range(100)]


async def test_queries_with_and_without_groups_share_a_call(backend: Backend) -> None:
    queries = unit_vectors(8, 3)
    by_group = [place % 2 == 1 for place in range(8)]
    expected = await Reference().revision(MANY).nearest(queries, 9, by_group)
    found = await backend.revision(MANY).nearest(queries, 9, by_group)
    for one, other, grouped in zip(found, expected, by_group, strict=True):
        if backend.exact:
            assert ids(one) == ids(other)
        assert len({each.group for each in one}) == 9 if grouped else len(one) == 9


async def test_groups_are_counted_among_what_a_filter_lets_through(backend: Backend) -> None:
    wanted = Filter(availabilities=("in_stock",), excluded_item_group_ids=("g1",))
    queries = np.concatenate([unit_vectors(3, 3), direction(1.0)])
    expected = await (await Reference().revision(MANY).select(wanted)).nearest(queries, 6, [True] * 4)
    found = await (await backend.revision(MANY).select(wanted)).nearest(queries, 6, [True] * 4)
    if backend.exact:
        assert [ids(each) for each in found] == [ids(each) for each in expected]
