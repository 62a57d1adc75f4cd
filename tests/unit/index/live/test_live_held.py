"""A merge of what is held in memory: nothing is read, and every product is found as before and after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.catalog.operations import Operation
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import CatalogRow, Price
from sightline_server.domain.filters import AttributeCondition, Filter, PriceRange
from sightline_server.domain.items import Product
from sightline_server.domain.living import Unobserved
from sightline_server.index import opening
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice.choosing import ChosenIndex, IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FlatIndex, Run, library_facts
from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.held import PART_ROWS, held_content
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.patience import Patience
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.live.state import LiveState
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.opening import build_snapshot
from sightline_server.index.probes import ANSWERED
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.ports import Snapshot
from tests.support.catalogs import SPEC, unit_vectors, write_catalog
from tests.support.index_kinds import IgnoringIndex, of_kind

FILTERS = (
    Filter(),
    Filter(brands=("norrvik",)),
    Filter(availabilities=("in_stock",)),
    Filter(item_group_ids=("g1", "g2")),
    Filter(prices=(PriceRange("EUR", maximum=Decimal(12)),)),
    Filter(attributes=(AttributeCondition("colour", ("red",)),)),
)


def product(number: int, images: int = 1, **texts: Any) -> CatalogRow:
    """Product `number`, with a price, a group and an attribute."""
    stated = {"brand": "Norrvik", "item_group_id": f"g{number % 3}", "gtin": "4006381333931", "link": f"/{number}"}
    colour = {"colour": "red" if number % 2 else "blue"}
    facts = Product(f"p{number:03}", title=f"product {number}", attributes=colour, **{**stated, **texts})
    links = tuple(f"{number}-{place}.jpg" for place in range(images))
    return CatalogRow(facts, Price(Decimal(10 + number % 5), "EUR"), links, unit_vectors(images, number))


class Failures(Unobserved):
    """Notes the catalogs of which a merge failed."""

    def __init__(self, failed: list[str]) -> None:
        self.failed = failed

    def merge_failed(self, catalog: str) -> None:
        self.failed.append(catalog)


class Shop:
    """A living catalog of forty products with one to three images."""

    def __init__(self, path: Path) -> None:
        write_catalog(path, [product(number, 1 + number % 3) for number in range(40)])
        self.path = path
        self.device = DeviceThread()
        self.failed: list[str] = []
        self.live = LiveIndex(path, "shop", SPEC, self.device, policy=MergePolicy(), observer=Failures(self.failed))
        self.catalog = LivingCatalog(path, store=CatalogStore(path, published=self.live))

    def write(self, first: int) -> None:
        """New products, replaced, changed, regrouped and deleted ones."""
        self.catalog.upsert([product(first + number, 1 + number % 2) for number in range(8)])
        self.catalog.upsert([product(number, 2, brand="Other", availability="in_stock") for number in (1, 5, 9)])
        self.catalog.update([ProductUpdate(f"p{number:03}", {"title": "changed"}) for number in (2, 5, first)])
        self.catalog.update([ProductUpdate("p007", {"item_group_id": ""}, Price(Decimal(99), "EUR"), {"colour": "x"})])
        self.catalog.delete(["p011", f"p{first + 1:03}"])

    def merge(self) -> None:
        """Merges in this thread."""
        before = self.live.view().state
        self.live._merge()
        assert self.live.view().state is not before


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop")
    with shop.catalog:
        shop.live.open()
        yield shop
        shop.live.close()
    shop.device.close()


async def answers(snapshot: Snapshot, wanted: Filter) -> list[Any]:
    """All that a call reads of its neighbours."""
    chosen = await snapshot.select(wanted)
    found = await chosen.nearest(unit_vectors(4, 77), 30)
    return [
        [
            (pytest.approx(each.similarity, abs=1e-6), shown, link, each.category, each.availability)
            for each, shown, link in zip(
                near,
                snapshot.products([each.row for each in near]),
                snapshot.image_links([each.image for each in near]),
                strict=True,
            )
        ]
        for near in found
    ]


def vectors_of(shop: Shop) -> NDArray[np.float32]:
    """The vectors of all products that live."""
    return held_content(shop.path, shop.live.view(), shop.catalog.store.current_revision, shop.device).vectors[:]


def unread(*_arguments: object, **_options: object) -> None:
    raise AssertionError("the files were read")


async def test_merges_read_nothing_and_change_no_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_catalog", unread)
    for first in (100, 200, 300):
        shop.write(first)
        before = [await answers(shop.live.view(), wanted) for wanted in FILTERS]
        numbers = vectors_of(shop)
        counts = shop.live.view().product_count, shop.live.view().revision
        shop.merge()
        view = shop.live.view()
        assert [await answers(view, wanted) for wanted in FILTERS] == before
        assert (view.product_count, view.revision) == counts
        np.testing.assert_array_equal(vectors_of(shop), numbers, "to the last bit")
        assert (view.extent.dead_base, view.state.base_images) == (0, view.extent.images)
        assert view.state.base.self_check_recall == 1.0
        assert len(view.state.base.probes) > 0
        shop.catalog.checkpoint()


async def test_base_of_memory_answers_as_one_of_the_files(shop: Shop) -> None:
    shop.write(100)
    shop.merge()
    view = shop.live.view()
    fresh = build_snapshot(shop.path, "shop", SPEC, shop.device)
    assert (view.revision, view.product_count, view.built_at) == (fresh.revision, fresh.product_count, fresh.built_at)
    assert view.state.base.max_images == fresh.max_images
    for wanted in FILTERS:
        assert await answers(view, wanted) == await answers(fresh, wanted)
    coded = await view.with_gtin(4006381333931)
    assert coded is not None
    assert len(coded.neighbours) == len((await fresh.with_gtin(4006381333931)).neighbours)  # type: ignore[union-attr]


async def test_catalog_that_was_emptied_is_merged_and_grows_again(shop: Shop) -> None:
    shop.catalog.delete([f"p{number:03}" for number in range(40)])
    shop.merge()
    assert (shop.live.view().product_count, shop.live.view().state.base_images) == (0, 0)
    shop.write(100)
    shop.merge()
    assert shop.live.view().state.base.selects, "an empty index shows nothing about selectors"
    assert {each[1].id for each in (await answers(shop.live.view(), Filter()))[0]} >= {"p001", "p005", "p100"}


def test_index_that_is_not_exact_is_built_of_the_files(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        read.append(arguments)
        return open_catalog(*arguments, **options)

    monkeypatch.setattr(opening, "open_catalog", counted)
    held = shop.live._held()
    assert held is not None
    approximate = IndexPolicy(exact_bytes=0)
    build_snapshot(shop.path, "shop", SPEC, shop.device, approximate, may_be_empty=True, held=held)
    assert len(read) == 1
    build_snapshot(shop.path, "shop", SPEC, shop.device, may_be_empty=True, held=held)
    assert len(read) == 1


@pytest.mark.parametrize("gpus", [0, 1])
def test_an_index_that_is_not_exact_or_on_a_gpu_is_asked_whatever_is_known(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    class Approximate(IgnoringIndex):
        exact = gpus > 0

    def ignoring(_name: str, catalog: Catalog, _policy: IndexPolicy, *, use_gpu: bool, run: Run[Any]) -> ChosenIndex:
        assert use_gpu is (gpus > 0)
        make = partial(of_kind("Flat", Approximate), catalog.vectors.astype(np.float32), Path())
        return ChosenIndex(run(make) if use_gpu else make(), PlanLimits())

    monkeypatch.setattr(opening, "library_facts", lambda: replace(library_facts(), gpus=gpus))
    monkeypatch.setattr(opening, "index_of", ignoring)
    found = build_snapshot(shop.path, "shop", SPEC, shop.device, may_be_empty=True, selects=True)
    assert not found.selects


def test_vectors_are_copied_by_their_owner_in_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    copies = FlatIndex.copies

    def counted(self: FlatIndex, rows: Any, into: Any) -> Any:
        copied.append(len(rows))
        return copies(self, rows, into)

    shop.write(100)
    monkeypatch.setattr(FlatIndex, "copies", counted)
    monkeypatch.setattr("sightline_server.index.live.held.PART_ROWS", 7)
    view = shop.live.view()
    vectors = held_content(shop.path, view, shop.catalog.store.current_revision, shop.device).vectors
    whole = vectors[:]
    assert max(copied) <= 7 < len(whole) < PART_ROWS
    for rows in ([[3, 60], [0, 3]], [[60, 3], [61, 62]], [[0, 1], [2, 3]]):
        np.testing.assert_array_equal(vectors[np.array(rows)], whole[rows])
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-6)


async def test_merge_whose_base_was_freed_meanwhile_is_dropped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(100)
    held = shop.live._held()
    base = shop.live.view().state.base
    monkeypatch.setattr(shop.live, "_held", lambda: held)

    def freed(*arguments: Any, **options: Any) -> Any:
        shop.live._build_base = None
        shop.live.replaced(shop.catalog.checkpoint())
        shop.device.call(base.index.close)
        return build_snapshot(*arguments, **options)

    shop.live._build_base = freed
    shop.live._merge()
    assert shop.failed == []
    assert shop.live.view().state.base is not base
    assert (shop.live.view().product_count, len((await answers(shop.live.view(), Filter()))[0])) == (46, 30)


def test_rows_of_a_merged_state_are_freed_by_another_thread(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[list[Any]] = []
    monkeypatch.setattr("sightline_server.catalog.freeing.Freeing.put", lambda _self, *lists: freed.extend(lists))
    shop.write(100)
    written = len(shop.live.view().state.lights)
    shop.merge()
    assert written > 0
    assert written in {len(rows) for rows in freed}


async def test_searches_go_first_before_each_part_of_a_merge(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sightline_server.index.live.held.PART_ROWS", 7)
    monkeypatch.setattr("sightline_server.index.live.held.PART_LIGHTS", 3)
    shop.write(100)
    before = await answers(shop.live.view(), Filter())
    shop.live._patience = Patience(waits.append, shop.live._clock)
    shop.merge()
    images, written = len(shop.live.view().state.base.owners), 15
    assert len(waits) > images // 7 + written // 3
    assert await answers(shop.live.view(), Filter()) == before


@pytest.mark.parametrize("held", [True, False])
def test_searches_go_first_before_each_part_of_the_probes_of_a_merge(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    waits: list[float] = []
    made: list[int] = []
    make_probes = CatalogSnapshot.make_probes

    def counted(base: CatalogSnapshot, *pause: Callable[[], None]) -> None:
        before = len(waits)
        make_probes(base, *pause)
        made.append(len(waits) - before)

    monkeypatch.setattr("sightline_server.index.live.index.is_held", lambda _view: held)
    monkeypatch.setattr("sightline_server.index.probes.PART_ROWS", 20)
    monkeypatch.setattr(CatalogSnapshot, "make_probes", counted)
    shop.live._patience = Patience(waits.append, shop.live._clock)
    shop.merge()
    base = shop.live.view().state.base
    assert made[0] >= -(-len(base.owners) // 20) + -(-len(base.probes) // ANSWERED) > 5


def test_searches_go_first_while_a_merge_takes_over_what_was_written_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline_server.index.live.index.APPLIED", 2)
    build, waits = shop.live._probed, list[int]()

    def written_meanwhile(*arguments: Any) -> Any:
        base = build(*arguments)
        shop.live._merging.running = True
        shop.catalog.upsert([product(200 + number) for number in range(5)])
        shop.live._patience = Patience(lambda _seconds: waits.append(shop.live.view().extent.seq), shop.live._clock)
        return base

    monkeypatch.setattr(shop.live, "_probed", written_meanwhile)
    shop.merge()
    assert waits == [5] * 3, "before the state, and before each two operations but the last ones"
    assert shop.live.view().extent.products == 45


def test_what_is_written_while_a_merge_waits_for_searches_is_not_applied_as_one_piece(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline_server.index.live.index.APPLIED", 2)
    build, apply = shop.live._probed, LiveState.apply
    under_lock: list[int] = []

    def applied(state: LiveState, operations: Sequence[Operation], at: Extent) -> Extent:
        if state is not shop.live.view().state and shop.live._turn.locked():
            under_lock.append(sum(each.seq > at.seq for each in operations))
        return apply(state, operations, at)

    def writes(_seconds: float) -> None:
        if shop.live.view().extent.seq < 10:
            shop.catalog.upsert([product(200 + shop.live.view().extent.seq)])

    def written_meanwhile(*arguments: Any) -> Any:
        base = build(*arguments)
        shop.live._merging.running = True
        shop.catalog.upsert([product(200 + number) for number in range(5)])
        shop.live._patience = Patience(writes, shop.live._clock)
        return base

    monkeypatch.setattr(LiveState, "apply", applied)
    monkeypatch.setattr(shop.live, "_probed", written_meanwhile)
    shop.merge()
    assert under_lock == [2]
    assert (shop.live.view().extent.seq, shop.live.view().extent.products) == (10, 50)


def test_end_of_a_merge_that_is_waited_for_does_not_wait_for_searches(shop: Shop) -> None:
    waits: list[float] = []
    shop.write(100)
    shop.live._patience = Patience(waits.append, shop.live._clock)
    shop.live.join()
    shop.merge()
    assert waits == []
