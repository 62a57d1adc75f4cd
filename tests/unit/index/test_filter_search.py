"""Searches under a filter, on every kind of index: no product that is filtered out, and the products of plain numpy."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.filters import AttributeCondition, Filter, FilterPlan, PlanKind
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import filtered
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.filtered import FilteredSnapshot, FilteredSnapshots
from sightline_server.index.filters.planner import GPU_LIMITS, PlanLimits, plan_kind
from sightline_server.index.filters.probe import applies_selectors
from sightline_server.index.filters.searches import BatchedSearch, ExactSearch, SelectorSearch
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.index.vectors import VectorIndex
from sightline_server.stages.search import VectorQuery, search
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog
from tests.support.index_kinds import KINDS, IgnoringIndex, of_kind

PRODUCTS = 120
NO_GATHERING = PlanLimits(gather_bytes=0)
PARTS_FROM = NO_GATHERING.parts_from_queries


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Products of one to three images; `number` says which of them, `half` and so on splits them."""
    path = tmp_path_factory.mktemp("catalogs") / "shop"
    vectors = np.split(unit_vectors(2 * PRODUCTS, 7), np.cumsum([1 + number % 3 for number in range(PRODUCTS - 1)]))
    rows = [
        row(
            f"p{number:03}",
            vectors[number],
            item_group_id=f"g{number % 40}",
            attributes={"half": str(number % 2), "tenth": str(number % 10), "every": "yes"},
        )
        for number in range(PRODUCTS)
    ]
    write_catalog(path, rows)
    return open_catalog(path)


@pytest.fixture(scope="module")
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def indexes(
    catalog: Catalog, device: DeviceThread, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[VectorIndex, bool]]:
    """Each kind of index over the catalog's vectors, and what the probe found."""
    vectors = catalog.vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = {}
    for kind, (make, _, _) in KINDS.items():
        index = make(vectors, tmp_path_factory.mktemp("index"))
        made[kind] = index, applies_selectors(index, catalog.vectors)
        device.call(index.adopt)
    return made


def by_numpy(
    catalog: Catalog, query: NDArray[np.float32], k: int, keep: Callable[[int], bool]
) -> list[tuple[int, float]]:
    """Row and similarity of the `k` nearest products that `keep` keeps."""
    vectors = catalog.vectors.astype(np.float32)
    similarities = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ query
    best = {product: -2.0 for product in range(PRODUCTS) if keep(product)}
    for product, similarity in zip(catalog.owners.tolist(), similarities.tolist(), strict=True):
        if product in best:
            best[product] = max(best[product], similarity)
    return sorted(best.items(), key=lambda item: -item[1])[:k]


def attribute(name: str, *values: str) -> Filter:
    return Filter(attributes=(AttributeCondition(name, values),))


@pytest.mark.parametrize("kind", KINDS)
def test_the_probe_believes_rows_and_not_the_absence_of_errors(
    indexes: dict[str, tuple[VectorIndex, bool]], kind: str
) -> None:
    assert indexes[kind][1] is KINDS[kind][1]


@pytest.mark.parametrize("count", [1, 2, 9, 80, 81, 200])
def test_the_probe_sees_an_ignored_selector_in_a_catalog_of_any_size(count: int) -> None:
    vectors = unit_vectors(count)
    assert applies_selectors(FaissIndex(vectors, use_gpu=False), vectors)
    assert not applies_selectors(of_kind("Flat", IgnoringIndex)(vectors, Path()), vectors)


# The indexes are made once for all examples.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    allowed=st.sets(st.integers(0, PRODUCTS - 1), min_size=1),
    seed=st.integers(0, 1000),
    k=st.integers(1, 30),
    limits=st.sampled_from([PlanLimits(), NO_GATHERING]),
    excluded=st.booleans(),
)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_index_returns_what_is_filtered_out(
    catalog: Catalog,
    device: DeviceThread,
    indexes: dict[str, tuple[VectorIndex, bool]],
    kind: str,
    allowed: set[int],
    seed: int,
    k: int,
    limits: PlanLimits,
    excluded: bool,
) -> None:
    index, selects = indexes[kind]
    whole = CatalogSnapshot("shop", catalog, index, device, selects=selects, limits=limits)
    ids = tuple(f"p{number:03}" for number in sorted(allowed))

    def keep(product: int) -> bool:
        return (product in allowed) is not excluded

    selected = await whole.select(Filter(excluded_product_ids=ids) if excluded else Filter(product_ids=ids))
    query = unit_vectors(1, seed)
    [found] = await selected.nearest(query, k)
    expected = by_numpy(catalog, query[0], k, keep)
    assert all(keep(neighbour.row) for neighbour in found)
    if KINDS[kind][2] or plan_of(selected).kind is not PlanKind.SELECTOR:
        assert len(found) == len(expected)
    if KINDS[kind][2]:
        assert [neighbour.row for neighbour in found] == [product for product, _ in expected]
        assert [neighbour.similarity for neighbour in found] == pytest.approx([s for _, s in expected], abs=1e-5)


def plan_of(snapshot: Any) -> FilterPlan:
    assert snapshot.applied_filter is not None
    plan: FilterPlan = snapshot.applied_filter.plan
    return plan


@pytest.mark.parametrize(
    ("kind", "limits", "wanted", "plan"),
    [
        ("flat", PlanLimits(), attribute("half", "1"), PlanKind.GATHER),
        ("flat", NO_GATHERING, attribute("half", "1"), PlanKind.SELECTOR),
        ("ignores selectors", NO_GATHERING, attribute("half", "1"), PlanKind.EXACT),
        ("refuses selectors", NO_GATHERING, attribute("half", "1"), PlanKind.EXACT),
        ("flat", PlanLimits(), attribute("every", "yes"), PlanKind.ALL),
        ("flat", NO_GATHERING, attribute("half", "2"), PlanKind.NO_MATCH),
        ("ignores selectors", PlanLimits(), attribute("half", "2"), PlanKind.NO_MATCH),
    ],
)
async def test_the_plan_is_chosen_by_how_much_matches_and_by_the_probe(
    catalog: Catalog,
    device: DeviceThread,
    indexes: dict[str, tuple[VectorIndex, bool]],
    kind: str,
    limits: PlanLimits,
    wanted: Filter,
    plan: PlanKind,
) -> None:
    index, selects = indexes[kind]
    whole = CatalogSnapshot("shop", catalog, index, device, selects=selects, limits=limits)
    selected = await whole.select(wanted)
    products = {PlanKind.ALL: PRODUCTS, PlanKind.NO_MATCH: 0}.get(plan, PRODUCTS // 2)
    assert (plan_of(selected).kind, plan_of(selected).products) == (plan, products)
    answers = await selected.nearest(unit_vectors(3), 200)
    assert [len(found) for found in answers] == [products] * 3


async def test_a_filtered_query_gets_in_any_batch_what_it_gets_alone(
    catalog: Catalog, device: DeviceThread, indexes: dict[str, tuple[VectorIndex, bool]]
) -> None:
    index, selects = indexes["flat"]
    for limits in (PlanLimits(), NO_GATHERING):
        whole = CatalogSnapshot("shop", catalog, index, device, selects=selects, limits=limits)
        filters = [Filter(), attribute("half", "1"), attribute("tenth", "3", "4"), attribute("tenth", "x")]
        snapshots = [await whole.select(wanted) for wanted in filters]
        asked = [
            VectorQuery(snapshots[number % 4], query, 1 + number % 5, by_group=number % 3 == 0)
            for number, query in enumerate(unit_vectors(24, 3))
        ]
        for query, together in zip(asked, await search(asked), strict=True):
            [alone] = await search([query])
            assert not isinstance(together, SightlineError)
            assert not isinstance(alone, SightlineError)
            assert [one.product_id for one in together] == [one.product_id for one in alone]


async def test_equal_filters_give_one_snapshot_and_none_gives_the_whole(
    catalog: Catalog, device: DeviceThread, indexes: dict[str, tuple[VectorIndex, bool]]
) -> None:
    whole = CatalogSnapshot("shop", catalog, indexes["flat"][0], device)
    assert await whole.select(Filter()) is whole
    selected = await whole.select(attribute("half", "1"))
    assert await whole.select(attribute("half", "1")) is selected
    assert await selected.select(Filter()) is selected
    with pytest.raises(SightlineError) as caught:
        await selected.select(attribute("half", "0"))
    assert caught.value.kind is ErrorKind.INTERNAL
    assert selected.products([0]) == whole.products([0])
    assert selected.image_links([1]) == whole.image_links([1])


async def test_a_closed_revision_serves_no_filter(catalog: Catalog, device: DeviceThread) -> None:
    index = FaissIndex(catalog.vectors, use_gpu=False)
    device.call(index.adopt)
    whole = CatalogSnapshot("shop", catalog, index, device)
    selected = await whole.select(attribute("half", "1"))
    await whole.close()
    for attempt in (selected.nearest(unit_vectors(1), 1), whole.select(attribute("half", "0"))):
        with pytest.raises(SightlineError) as caught:
            await attempt
        assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE


async def test_an_index_that_stops_applying_selectors_fails_the_search(catalog: Catalog, device: DeviceThread) -> None:
    index = of_kind("Flat", IgnoringIndex)(unit_vectors(2 * PRODUCTS, 7), Path())
    device.call(index.adopt)
    whole = CatalogSnapshot("shop", catalog, index, device, selects=True, limits=NO_GATHERING)
    selected = await whole.select(attribute("half", "1"))
    with pytest.raises(SightlineError) as caught:
        await selected.nearest(unit_vectors(1), 50)
    assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE


def test_an_exact_search_in_parts_finds_what_one_in_whole_finds() -> None:
    vectors = unit_vectors(500, 4)
    index = FaissIndex(vectors, use_gpu=False)
    rows = np.flatnonzero(np.random.default_rng(1).random(500) < 0.7)
    queries = unit_vectors(9, 8)
    similarities, found = ExactSearch(index, rows, DIMENSION, part_bytes=4 * DIMENSION * 17).search(queries, 40)
    expected = rows[np.argsort(-(queries @ vectors[rows].T), axis=1)[:, :40]]
    assert (found == expected).all()
    assert np.allclose(similarities, np.take_along_axis(queries @ vectors.T, expected, axis=1), atol=1e-6)


@pytest.mark.parametrize("queries", [1, PARTS_FROM - 1, PARTS_FROM, 20])
def test_batches_find_in_parts_what_the_selector_finds(queries: int) -> None:
    vectors = unit_vectors(400, 4)
    index = FaissIndex(vectors, use_gpu=False)
    allowed = np.random.default_rng(2).random(400) < 0.6
    rows = np.flatnonzero(allowed)
    selector, parts = SelectorSearch(index, allowed, len(rows)), ExactSearch(index, rows, DIMENSION, part_bytes=4000)
    both = BatchedSearch(selector, parts, PARTS_FROM)
    asked = unit_vectors(queries, 9)
    expected = rows[np.argsort(-(asked @ vectors[rows].T), axis=1)[:, :30]]
    for way in (both, selector, parts):
        assert (way.search(asked, 30)[1] == expected).all()
    assert both.max_k == len(rows)


@pytest.mark.parametrize(("limits", "by_selector"), [(NO_GATHERING, 1), (GPU_LIMITS, 2)], ids=["CPU", "GPU"])
async def test_on_a_gpu_the_selector_takes_whole_batches(
    catalog: Catalog, device: DeviceThread, monkeypatch: pytest.MonkeyPatch, limits: PlanLimits, by_selector: int
) -> None:
    index = FaissIndex(catalog.vectors, use_gpu=False)
    device.call(index.adopt)
    asked: list[int] = []
    search_allowed = index.search_allowed

    def counting(queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]) -> Any:
        asked.append(len(queries))
        return search_allowed(queries, k, allowed)

    monkeypatch.setattr(index, "search_allowed", counting)
    limits = replace(limits, gather_bytes_beside_selectors=0)
    selected = await CatalogSnapshot("shop", catalog, index, device, selects=True, limits=limits).select(
        attribute("half", "1")
    )
    assert plan_of(selected).kind is PlanKind.SELECTOR
    alone = await selected.nearest(unit_vectors(1), 5)
    together = await selected.nearest(unit_vectors(PARTS_FROM), 5)
    assert [one.product_id for one in together[0]] == [one.product_id for one in alone[0]]
    assert len(asked) == by_selector


def test_a_selector_search_returns_at_most_what_the_index_can() -> None:
    index: VectorIndex = FaissIndex(unit_vectors(50), use_gpu=False)
    assert SelectorSearch(index, np.arange(50) < 7, 7).max_k == 7


@pytest.mark.parametrize(
    ("images", "selects", "kind"),
    [
        (0, True, "no_match"),
        (1000, False, "all"),
        (100, True, "gather"),
        (101, True, "selector"),
        (101, False, "exact"),
    ],
)
def test_thresholds_are_those_of_the_limits(images: int, selects: bool, kind: str) -> None:
    limits = PlanLimits(gather_bytes=100 * 4 * 16)
    assert plan_kind(images=images, all_images=1000, dimension=16, selects=selects, limits=limits).value == kind


@pytest.mark.parametrize(("selects", "kind"), [(True, "selector"), (False, "gather")])
def test_fewer_vectors_are_copied_where_a_selector_costs_less(selects: bool, kind: str) -> None:
    images = GPU_LIMITS.gather_bytes_beside_selectors // (4 * 256)
    plans = [
        plan_kind(images=images + more, all_images=100_000, dimension=256, selects=selects, limits=GPU_LIMITS).value
        for more in (0, 1)
    ]
    assert plans == ["gather", kind]


def test_remembered_filters_are_bounded_in_number_and_bytes(catalog: Catalog) -> None:
    def wanted(number: int) -> Filter:
        return Filter(brands=(str(number),))

    def made(number: int) -> FilteredSnapshot:
        snapshot = FilteredSnapshot.__new__(FilteredSnapshot)
        snapshot.applied_filter = None
        return snapshot

    held = FilteredSnapshots(most=3, most_bytes=100_000)
    kept = [held.add(wanted(number), made(number), 10_000) for number in range(3)]
    assert held.get(wanted(0)) is kept[0]
    held.add(wanted(3), made(3), 10_000)
    assert held.get(wanted(1)) is None, "the one that was not asked for since"
    assert held.get(wanted(0)) is kept[0]
    assert held.add(wanted(0), made(0), 10_000) is kept[0], "the first of two that were made at once"
    held.add(wanted(4), made(4), 95_000)
    assert [held.get(wanted(number)) is not None for number in range(5)] == [False, False, False, False, True]
    held.clear()
    assert held.get(wanted(4)) is None
    assert PlanLimits().gather_bytes <= filtered.REMEMBERED_BYTES


async def test_remembered_filters_of_many_ids_stay_within_the_bytes(tmp_path: Path, device: DeviceThread) -> None:
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1, n)) for n in range(4)], SPEC)
    catalog = open_catalog(tmp_path / "shop")
    whole = CatalogSnapshot("shop", catalog, FaissIndex(catalog.vectors, use_gpu=False), device)
    held = whole._filtered = FilteredSnapshots(most_bytes=4_000_000)
    # Beyond ASCII, a text takes 4 bytes for each of its characters.
    for number in range(10):
        ids = tuple(f"{number}-{place}-{'x' * 200}\U0001f600" for place in range(500))
        await whole.select(Filter(product_ids=ids, attributes=(AttributeCondition("color", ids[:20]),)))
    assert 0 < len(held._held) < 5, "none of them matches, so that their searches hold nothing"
    assert held._bytes > 500 * 200 * 4


async def test_a_product_of_many_images_does_not_crowd_out_others_under_a_filter(
    tmp_path: Path, device: DeviceThread
) -> None:
    centre = unit_vectors(1, 3)
    rows = [row(f"crowd{n}", np.repeat(centre, 20, axis=0), brand="a", item_group_id="one") for n in range(8)]
    rows += [row(f"far{n}", unit_vectors(1, 50 + n), brand="a" if n < 6 else "b") for n in range(12)]
    write_catalog(tmp_path / "shop", rows, SPEC)
    catalog = open_catalog(tmp_path / "shop")
    index = FaissIndex(catalog.vectors, use_gpu=False)
    device.call(index.adopt)
    for limits in (PlanLimits(), NO_GATHERING):
        whole = CatalogSnapshot("shop", catalog, index, device, selects=True, limits=limits)
        selected = await whole.select(Filter(brands=("A",)))
        plain, grouped = await selected.nearest(np.repeat(centre, 2, axis=0), 10, [False, True])
        assert len(plain) == 10
        assert [one.product_id for one in plain[:8]] == [f"crowd{n}" for n in range(8)]
        assert {one.product_id for one in grouped} == {f"crowd{n}" for n in range(8)} | {f"far{n}" for n in range(6)}
