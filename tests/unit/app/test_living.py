"""A catalog that is opened to be written and searched: leases see each write, bases are exchanged under calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.app.living import OpenLiving, open_living
from sightline_server.app.reload import WRITTEN_HERE, CatalogReloader, RegistryShelf
from sightline_server.domain.items import Neighbour
from sightline_server.domain.living import Unobserved
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FlatIndex
from sightline_server.index.live import index as index_module
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import build_snapshot
from sightline_server.index.registry import Registry
from sightline_server.ports import Snapshot
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import until
from tests.support.passes import pass_to

OFTEN = MergePolicy(images=4, images_share=0, dead=100, rows=100, pause_s=3600)


class Merges(Unobserved):
    """Counts merges by outcome."""

    def __init__(self) -> None:
        self.good = self.bad = 0

    def merged(self, catalog: str, seconds: float) -> None:
        self.good += 1

    def merge_failed(self, catalog: str) -> None:
        self.bad += 1


class Shop:
    """A registry with its device and a folder with a catalog of five products."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.device = DeviceThread()
        self.metrics = CatalogMetrics(Metrics())
        self.registry = Registry(self.metrics)
        self.merges = Merges()
        write_catalog(path, [row(f"p{number}", unit_vectors(1, number)) for number in range(5)])

    def open(self, policy: MergePolicy | None = None) -> AbstractAsyncContextManager[OpenLiving]:
        return open_living(self.path, "shop", SPEC, self.device, self.registry, observer=self.merges, policy=policy)

    async def ids(self, seed: int, k: int = 3) -> list[str]:
        with self.registry.lease(pass_to("shop")) as snapshot:
            return ids(await nearest(snapshot, seed, k))


async def nearest(snapshot: Snapshot, seed: int, k: int = 3) -> list[Neighbour]:
    [found] = await snapshot.nearest(unit_vectors(1, seed), k)
    return found


def ids(found: list[Neighbour]) -> list[str]:
    return [each.product_id for each in found]


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path / "shop")
    yield shop
    await shop.registry.close()
    shop.device.close()


async def test_what_was_acknowledged_is_in_the_next_lease(shop: Shop) -> None:
    async with shop.open() as living:
        await asyncio.to_thread(living.catalog.upsert, [row("new", unit_vectors(1, 50))])
        assert (await shop.ids(50))[0] == "new"
        await asyncio.to_thread(living.catalog.delete, ["new"])
        assert "new" not in await shop.ids(50, 20)


async def test_a_lease_sees_one_moment_whatever_is_written(shop: Shop) -> None:
    async with shop.open() as living:
        with shop.registry.lease(pass_to("shop")) as snapshot:
            before = ids(await nearest(snapshot, 3, 20))
            await asyncio.to_thread(living.catalog.upsert, [row("new", unit_vectors(1, 3), title="new")])
            await asyncio.to_thread(living.catalog.delete, ["p3"])
            await asyncio.to_thread(living.catalog.upsert, [row("p4", unit_vectors(1, 9))])
            assert ids(await nearest(snapshot, 3, 20)) == before
            assert snapshot.product_count == 5
        assert set(await shop.ids(3, 20)) == {"p0", "p1", "p2", "p4", "new"}


async def test_leases_without_a_write_between_them_share_a_view(shop: Shop) -> None:
    async with shop.open() as living:
        with shop.registry.lease(pass_to("shop")) as first, shop.registry.lease(pass_to("shop")) as second:
            assert first is second
            await asyncio.to_thread(living.catalog.delete, ["p0"])
            with shop.registry.lease(pass_to("shop")) as third:
                assert third is not first
                assert third.revision != first.revision


async def test_a_merge_frees_the_old_base_with_its_last_lease(shop: Shop) -> None:
    async with shop.open(OFTEN) as living:
        with shop.registry.lease(pass_to("shop")) as old:
            await asyncio.to_thread(living.catalog.upsert, [row(f"n{n}", unit_vectors(1, 40 + n)) for n in range(4)])
            await asyncio.to_thread(living.index.join)
            await asyncio.to_thread(living.catalog.delete, ["p1"])
            assert shop.merges.good == 1
            assert living.index.view().state is not old.state  # type: ignore[attr-defined]
            assert len(await nearest(old, 3, 20)) == 5
            assert len(await shop.ids(3, 20)) == 8
        await until(lambda: old.state.base._closed)  # type: ignore[attr-defined]
        with pytest.raises(SightlineError, match="closed"):
            await nearest(old, 3)
        assert len(await shop.ids(3, 20)) == 8


async def test_a_merge_that_fails_leaves_what_is_served(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    async with shop.open(OFTEN) as living:
        monkeypatch.setattr(index_module, "build_snapshot", no_memory)
        rows = [row(f"n{n}", unit_vectors(1, 40 + n)) for n in range(6)]
        for one in rows:
            await asyncio.to_thread(living.catalog.upsert, [one])
            await asyncio.to_thread(living.index.join)
        assert (shop.merges.good, shop.merges.bad) == (0, 1), "a merge that failed is not tried again at once"
        assert set(await shop.ids(3, 20)) == {f"p{n}" for n in range(5)} | {f"n{n}" for n in range(6)}


async def test_writes_during_a_merge_are_carried_over(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[object] = []

    async with shop.open(OFTEN) as living:

        def written_meanwhile(*arguments: object, **options: object) -> object:
            base = build_snapshot(*arguments, **options)  # type: ignore[arg-type]
            living.catalog.upsert([row("late", unit_vectors(1, 60))])
            living.catalog.delete(["p2", "n0"])
            living.catalog.checkpoint()
            writes.append(base)
            return base

        monkeypatch.setattr(index_module, "build_snapshot", written_meanwhile)
        await asyncio.to_thread(living.catalog.upsert, [row(f"n{n}", unit_vectors(1, 40 + n)) for n in range(4)])
        await asyncio.to_thread(living.index.join)
        assert (len(writes), shop.merges.good) == (1, 1)
        assert set(await shop.ids(60, 20)) == {"p0", "p1", "p3", "p4", "n1", "n2", "n3", "late"}
        assert living.index.view().revision == living.catalog.store.revisions[0].name


async def test_a_rollback_during_a_merge_drops_the_merge(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled_back: list[object] = []

    async with shop.open(OFTEN) as living:

        def rolled_back_meanwhile(*arguments: object, **options: object) -> object:
            base = build_snapshot(*arguments, **options)  # type: ignore[arg-type]
            if not rolled_back:
                rolled_back.append(base)
                living.catalog.store.rollback(1)
            return base

        monkeypatch.setattr(index_module, "build_snapshot", rolled_back_meanwhile)
        await asyncio.to_thread(living.catalog.upsert, [row(f"n{n}", unit_vectors(1, 40 + n)) for n in range(4)])
        await asyncio.to_thread(living.index.join)
        assert shop.merges.good == 0
        assert set(await shop.ids(3, 20)) == {f"p{n}" for n in range(5)}


async def test_a_rollback_loses_no_search(shop: Shop) -> None:
    async with shop.open() as living:
        await asyncio.to_thread(living.catalog.delete, ["p0", "p1"])
        state = living.index.view().state
        rolling = asyncio.create_task(asyncio.to_thread(living.catalog.store.rollback, 1))
        counts = set()
        while not rolling.done():
            counts.add(len(await shop.ids(3, 20)))
            await asyncio.sleep(0)
        await rolling
        assert counts <= {3, 5}
        assert living.index.view().state is state, "few products differ, so the base stays"
        assert len(await shop.ids(3, 20)) == 5


async def test_an_empty_catalog_is_served_and_filled(shop: Shop) -> None:
    with LivingCatalog(shop.path) as catalog:
        catalog.delete([f"p{number}" for number in range(5)])
        catalog.checkpoint()
    async with shop.open() as living:
        assert await shop.ids(3) == []
        await asyncio.to_thread(living.catalog.upsert, [row("first", unit_vectors(2, 3))])
        assert await shop.ids(3) == ["first"]
        await asyncio.to_thread(living.catalog.delete, ["first"])
        assert await shop.ids(3) == []


async def test_an_index_that_skips_dead_products_forever_is_not_needed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = FlatIndex.search

    def approximate(
        self: FlatIndex, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Never returns more than four vectors, as an inverted file whose other lists are not visited."""
        similarities, rows = search(self, queries, k)
        rows[:, 4:] = -1
        return similarities, rows

    write_catalog(shop.path, [row(f"p{number}", unit_vectors(1, number)) for number in range(40)], replace=True)
    async with shop.open() as living:
        monkeypatch.setattr(FlatIndex, "search", approximate)
        monkeypatch.setattr(FlatIndex, "exact", False)
        nearest_four = await shop.ids(3, 4)
        await asyncio.to_thread(living.catalog.delete, nearest_four)
        found = await shop.ids(3, 4)
        assert len(found) == 4
        assert not set(found) & set(nearest_four)


async def test_a_reload_has_nothing_to_do(shop: Shop) -> None:
    async with shop.open() as living:
        await asyncio.to_thread(living.catalog.delete, ["p0"])
        shelf = RegistryShelf({"shop": shop.path}, shop.registry, shop.device, SPEC)
        [report] = await CatalogReloader(shelf, shop.metrics).reload()
        assert (report.before, report.error, report.note) == (report.now, "", WRITTEN_HERE)
        assert report.now == living.index.view().revision


async def test_a_second_writer_is_refused(shop: Shop) -> None:
    async with shop.open():
        with pytest.raises(SightlineError, match="another process") as caught:
            async with shop.open():
                pass
        assert caught.value.kind is ErrorKind.CONFIGURATION
        assert len(await shop.ids(3, 20)) == 5


async def test_another_embedder_is_refused_and_the_lock_is_free_again(shop: Shop) -> None:
    with pytest.raises(SightlineError, match="another embedder"):
        async with open_living(shop.path, "shop", replace(SPEC, sha256="cd" * 32), shop.device, shop.registry):
            pass
    async with shop.open():
        assert len(await shop.ids(3, 20)) == 5
