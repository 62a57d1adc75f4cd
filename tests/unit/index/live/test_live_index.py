"""The live index where memory is short, views are old, and a rollback is small or large."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from sightline_server.catalog.base import Base
from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.filters import Filter
from sightline_server.domain.items import Product
from sightline_server.errors import SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex, GatheredVectors
from sightline_server.index.live.growing import Growing
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.later_probes import make_later
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.live.prepared import PreparedBase
from sightline_server.index.live.view import LiveView
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opening import build_snapshot
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.ports import Snapshot
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog


class Shop:
    """A living catalog of eight products, written and searched in one thread."""

    def __init__(self, path: Path, policy: MergePolicy) -> None:
        write_catalog(path, [row(f"p{number}", unit_vectors(1, number)) for number in range(8)])
        self.path = path
        self.device = DeviceThread()
        self.live = LiveIndex(path, "shop", SPEC, self.device, policy=policy)
        self.catalog = LivingCatalog(path, store=CatalogStore(path, published=self.live))

    def products(self, view: LiveView) -> dict[str, Product]:
        rows = view.state.rows_at(self.living_slots(view), view.extent.number)
        return {each.id: each for each in view.products(rows.tolist())}

    def living_slots(self, view: LiveView) -> NDArray[np.int64]:
        return np.flatnonzero(view.state.died.values[: view.extent.slots] > view.extent.number)

    async def nearest(self, view: Snapshot, seed: int, k: int = 30) -> list[str]:
        [found] = await view.nearest(unit_vectors(1, seed), k)
        return [each.product_id for each in found]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop", MergePolicy())
    with shop.catalog:
        shop.live.open()
        yield shop
        shop.live.close()
    shop.device.close()


@pytest.mark.parametrize("failing", range(0, 16, 3))
async def test_a_write_for_which_memory_was_short_is_whole_after_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    put, calls = Growing.put, iter(range(100))

    def short_of_memory(self: Growing[Any], at: int, rows: NDArray[Any]) -> None:
        if next(calls) == failing:
            raise MemoryError
        put(self, at, rows)

    before = shop.live.view()
    with monkeypatch.context() as patched:
        patched.setattr(Growing, "put", short_of_memory)
        with pytest.raises(SightlineError, match="cannot be searched yet"):
            shop.catalog.upsert(
                [row("p1", unit_vectors(2, 90)), row("new", unit_vectors(1, 91)), row("x", unit_vectors(3))]
            )
        assert shop.live.view() is before
        assert len(await shop.nearest(before, 1)) == 8
        assert (await shop.nearest(before, 1))[0] == "p1"
    shop.catalog.delete(["p2"])
    fresh = build_snapshot(shop.path, "shop", SPEC, shop.device)
    view = shop.live.view()
    for seed in (1, 90, 91):
        assert await shop.nearest(view, seed) == await shop.nearest(fresh, seed)
    assert (view.revision, view.product_count) == (fresh.revision, fresh.product_count) == (view.revision, 9)


async def test_every_view_keeps_its_prices_groups_and_filters(shop: Shop) -> None:
    views = [shop.live.view()]
    for number in range(5):
        texts = {"title": f"title {number}", "availability": "in_stock" if number % 2 else "out_of_stock"}
        shop.catalog.update([ProductUpdate("p3", texts)])
        views.append(shop.live.view())
    shop.catalog.delete(["p3"])
    for number, view in enumerate(views[1:]):
        assert shop.products(view)["p3"].title == f"title {number}"
        in_stock = await view.select(Filter(availabilities=("in_stock",)))
        assert await shop.nearest(in_stock, 3) == (["p3"] if number % 2 else [])
    assert shop.products(views[0])["p3"].title == ""
    assert "p3" not in shop.products(shop.live.view())
    assert len(views[0].state.vectors.values) == len(views[-1].state.vectors.values), "no vector was touched"


async def test_written_images_have_the_similarity_that_a_new_base_gives_them(shop: Shop) -> None:
    shop.catalog.upsert([row(f"n{number}", unit_vectors(3, 100 + number)) for number in range(20)])
    fresh = build_snapshot(shop.path, "shop", SPEC, shop.device)
    [ours], [theirs] = [await each.nearest(unit_vectors(1, 7), 28) for each in (shop.live.view(), fresh)]
    assert [each.product_id for each in ours] == [each.product_id for each in theirs]
    assert [each.similarity for each in ours] == pytest.approx([each.similarity for each in theirs], abs=1e-6)


async def test_dead_images_of_the_delta_displace_no_living_ones(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    search = GatheredVectors.search

    def counted(self: GatheredVectors, queries: NDArray[np.float32], k: int) -> Any:
        asked.append(k)
        return search(self, queries, k)

    shop.catalog.upsert([row(f"n{number:02}", unit_vectors(1, 100 + number)) for number in range(50)])
    shop.catalog.upsert([row("hot", unit_vectors(1, 3)) for _ in range(400)])
    fresh = build_snapshot(shop.path, "shop", SPEC, shop.device)
    monkeypatch.setattr(GatheredVectors, "search", counted)
    assert await shop.nearest(shop.live.view(), 3, 9) == await shop.nearest(fresh, 3, 9)
    assert len(asked) > 1, "all of the first attempt were dead"
    asked.clear()
    assert await shop.nearest(shop.live.view(), 150, 9) == await shop.nearest(fresh, 150, 9)
    assert asked
    assert max(asked) < 400, "the first attempt does not ask for as many as have died"


def test_the_sizes_count_the_dead_of_base_and_delta(shop: Shop) -> None:
    shop.catalog.upsert([row("p1", unit_vectors(2, 90)), row("p1", unit_vectors(3, 90))])
    shop.catalog.delete(["p2"])
    sizes = shop.live.sizes
    assert (sizes.base_images, sizes.delta_images, sizes.dead_images) == (8, 5, 4)
    assert sizes.base_memory_bytes == 8 * DIMENSION * 4
    shop.live.view().state.base.index.memory_bytes = 123  # type: ignore[misc]
    assert shop.live.sizes.base_memory_bytes == 123, "the index that is in use says it"
    assert sizes.merge_at_images == 10_000


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Shop]:
    """A shop whose rollbacks of more than three products build a base."""
    shop = Shop(tmp_path / "few", MergePolicy(rows=3, rows_share=0.0))
    with shop.catalog:
        shop.live.open()
        yield shop
        shop.live.close()
    shop.device.close()


async def test_a_rollback_of_more_rows_than_the_policy_allows_builds_a_base(few: Shop) -> None:
    few.catalog.delete(["p0", "p1"])
    small = few.live.view().state
    few.catalog.store.rollback(1)
    assert few.live.view().state is small
    few.catalog.delete(["p0", "p1", "p2", "p3"])
    few.catalog.store.rollback(1)
    few.live.join()
    assert few.live.view().state is not small
    assert len(await few.nearest(few.live.view(), 3)) == 8
    assert few.live.view().revision == few.catalog.store.revisions[0].name
    few.catalog.upsert([row("new", unit_vectors(1, 50))])
    assert "new" in await few.nearest(few.live.view(), 50)


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_a_rollback_that_builds_a_base_reads_each_row_once(
    few: Shop, monkeypatch: pytest.MonkeyPatch, checkpoint: bool
) -> None:
    few.catalog.delete(["p0", "p1", "p2", "p3"])
    if checkpoint:
        few.catalog.checkpoint()
    read: list[int] = []
    update = SumDigest.update

    def counted(self: SumDigest, rows: pa.Table | pa.RecordBatch) -> None:
        read.append(rows.num_rows)
        update(self, rows)

    monkeypatch.setattr(SumDigest, "update", counted)
    few.catalog.store.rollback(1)
    assert sum(read) == 8
    assert len(await few.nearest(few.live.view(), 3)) == 8


async def test_a_rollback_does_not_ask_again_what_an_exact_index_can(
    few: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> bool:
        raise AssertionError("asked again")

    few.catalog.delete(["p0", "p1", "p2", "p3"])
    before = few.live.view()
    monkeypatch.setattr("sightline_server.index.opening.applies_selectors", refused)
    few.catalog.store.rollback(1)
    base = few.live.view().state.base
    assert base is not before.state.base
    assert base.selects is before.state.base.selects is True


def test_probes_wait_for_the_next_rollback_and_end_with_their_base(few: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[CatalogSnapshot, threading.Thread]] = []
    waited: list[bool] = []
    waiting, wait = threading.Event(), PreparedBase.wait

    def noted(base: CatalogSnapshot, *given: Any) -> threading.Thread:
        made.append((base, make_later(base, *given)))
        return made[-1][1]

    def held_up(self: PreparedBase) -> None:
        waiting.wait()
        wait(self)

    def prepared(number: int) -> CatalogSnapshot:
        waiting.set()
        made[0][1].join(0.3)
        waited.append(made[0][1].is_alive())
        return build(number)

    monkeypatch.setattr(PreparedBase, "wait", held_up)
    monkeypatch.setattr("sightline_server.index.live.index.make_later", noted)
    few.catalog.delete(["p0", "p1", "p2", "p3"])
    few.catalog.store.rollback(1)
    build = few.live._prepared._build
    monkeypatch.setattr(few.live._prepared, "_build", prepared)
    few.catalog.store.rollback(2)
    waiting.set()
    for _, thread in made:
        thread.join()
    assert waited == [True], "probes are made while a rollback is prepared"
    (first, _), (second, _) = made
    assert (len(first.probes), len(second.probes)) == (0, 4)


def test_probes_end_at_a_close(few: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[CatalogSnapshot, threading.Thread]] = []
    closed = threading.Event()

    def noted(base: CatalogSnapshot, *given: Any) -> threading.Thread:
        made.append((base, make_later(base, *given)))
        return made[-1][1]

    monkeypatch.setattr(PreparedBase, "wait", lambda _self: closed.wait())
    monkeypatch.setattr("sightline_server.index.live.index.make_later", noted)
    few.catalog.delete(["p0", "p1", "p2", "p3"])
    few.catalog.store.rollback(1)
    few.live.close()
    closed.set()
    [(base, thread)] = made
    thread.join()
    assert base is few.live.view().state.base
    assert len(base.probes) == 0


async def test_a_rollback_to_damaged_rows_is_refused_with_the_reason(
    few: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    few.catalog.delete(["p0", "p1", "p2", "p3"])
    few.catalog.checkpoint()
    for path in (few.path / "base.lance" / "data").iterdir():
        path.write_bytes(path.read_bytes()[:100] + b"\0" * 400 + path.read_bytes()[500:])
    before = few.live.view()
    with pytest.raises(SightlineError, match="nothing was changed"):
        few.catalog.store.rollback(1)
    assert few.live.view() is before
    assert len(await few.nearest(before, 3)) == 4
    assert "a rollback could not be prepared" in caplog.text


async def test_a_base_that_a_failed_rollback_does_not_need_is_closed(
    few: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    closed: list[FaissIndex] = []
    close = FaissIndex.close

    def noted(self: FaissIndex) -> None:
        closed.append(self)
        close(self)

    few.catalog.delete(["p0", "p1", "p2", "p3"])
    before = few.live.view()
    with monkeypatch.context() as patched:
        patched.setattr(FaissIndex, "close", noted)
        patched.setattr(Base, "restore", full_disk)
        with pytest.raises(SightlineError, match="No space left"):
            few.catalog.store.rollback(1)
    assert len(closed) == 1
    assert closed[0] is not before.state.base.index
    assert len(await few.nearest(few.live.view(), 3)) == 4
    few.catalog.store.rollback(1)
    assert len(await few.nearest(few.live.view(), 3)) == 8


async def test_a_rollback_to_as_many_other_products_is_served(shop: Shop) -> None:
    shop.catalog.delete(["p1"])
    shop.catalog.checkpoint()
    shop.catalog.store.rollback(1)
    shop.catalog.delete(["p2"])
    shop.catalog.store.rollback(2)
    assert set(await shop.nearest(shop.live.view(), 3)) == {f"p{number}" for number in range(8)} - {"p1"}


async def test_a_rollback_whose_changes_do_not_add_up_builds_a_base(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.catalog.delete(["p0"])
    monkeypatch.setattr("sightline_server.index.live.index.changes_to", lambda *_arguments: [])
    shop.catalog.store.rollback(1)
    assert len(await shop.nearest(shop.live.view(), 3)) == 8


async def test_a_rollback_whose_files_cannot_be_compared_builds_a_base(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    shop.catalog.delete(["p0"])
    monkeypatch.setattr("sightline_server.index.live.index.changes_to", unreadable)
    shop.catalog.store.rollback(1)
    assert len(await shop.nearest(shop.live.view(), 3)) == 8


@pytest.mark.parametrize(
    ("base", "written", "dead", "rows", "most", "due"),
    [
        (1000, 9_999, 0, 0, 1000, False),
        (1000, 10_000, 0, 0, 1000, True),
        (1_000_000, 49_999, 0, 0, 1_000_000, False),
        (1_000_000, 50_000, 0, 0, 1_000_000, True),
        (3000, 0, 999, 0, 2048, False),
        (3000, 0, 1000, 0, 2048, True),
        (10_000, 0, 4_999, 0, 10_000, False),
        (10_000, 0, 5_000, 0, 10_000, True),
        (100_000, 0, 9_999, 0, 100_000, False),
        (100_000, 0, 10_000, 0, 100_000, True),
        (100_000, 0, 10_000, 0, 2048, True),
        (1000, 0, 0, 20_000, 1000, True),
    ],
)
def test_a_merge_is_due_at_a_number_or_a_share(
    base: int, written: int, dead: int, rows: int, most: int, due: bool, shop: Shop
) -> None:
    state, extent = shop.live.view().state, shop.live.view().extent
    state.base_images = state.base_products = base
    state.base.index.max_k = most  # type: ignore[misc]
    extent = replace(extent, vectors=base + written, dead_base=dead, rows=base + rows)
    assert MergePolicy().due(state, extent) is due


@pytest.mark.parametrize(("products", "most"), [(0, 1000), (40_000, 1000), (100_000, 2500), (10_000_000, 20_000)])
def test_few_changes_of_a_rollback_are_made_one_by_one(products: int, most: int) -> None:
    assert MergePolicy().changed_at(products) == most
