"""A catalog that changes its embedder while it is searched and written: each lease has one embedder, and none fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.app.living import OpenLiving, open_living
from sightline_server.app.reload import CatalogReloader, RegistryShelf
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.living import Unobserved
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live import index as index_module
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import build_snapshot, open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.ports import Snapshot
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.generations import LIKE, OTHER, prepare, served
from tests.support.passes import pass_to

BOTH = served(OTHER)
OFTEN = MergePolicy(images=4, images_share=0, dead=100, rows=100, pause_s=3600)


class Merges(Unobserved):
    """Counts merges that failed."""

    def __init__(self) -> None:
        self.bad = 0

    def merge_failed(self, catalog: str) -> None:
        self.bad += 1


class Shop:
    """A registry with its device, and a folder with a catalog of five products."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.device = DeviceThread()
        self.metrics = CatalogMetrics(Metrics())
        self.registry = Registry(self.metrics)
        self.merges = Merges()
        write_catalog(path, [row(f"p{number}", unit_vectors(1, number)) for number in range(5)])

    @asynccontextmanager
    async def open(self, embedders: Embedders = BOTH, policy: MergePolicy | None = None) -> AsyncIterator[OpenLiving]:
        async with open_living(
            self.path, "shop", embedders, self.device, self.registry, observer=self.merges, policy=policy
        ) as living:
            yield living

    async def ids(self, vectors: NDArray[np.float32]) -> list[str]:
        with self.registry.lease(pass_to("shop")) as snapshot:
            return await ids(snapshot, vectors)


async def ids(snapshot: Snapshot, vectors: NDArray[np.float32]) -> list[str]:
    [found] = await snapshot.nearest(vectors, 20)
    return [each.product_id for each in found]


def of_now(snapshot: Snapshot, seed: int = 3) -> NDArray[np.float32]:
    """A query of the embedder of `snapshot`."""
    return unit_vectors(1, seed, {SPEC.identity: 8, OTHER.identity: 12}[snapshot.embedder])


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path / "shop")
    yield shop
    await shop.registry.close()
    shop.device.close()


async def switch(shop: Shop, living: OpenLiving) -> Revision:
    made = await asyncio.to_thread(prepare, shop.path, living.catalog)
    return await asyncio.to_thread(living.catalog.store.rollback, made.number)


async def test_a_lease_keeps_its_embedder_and_the_next_one_has_the_new_one(shop: Shop) -> None:
    async with shop.open() as living:
        with shop.registry.lease(pass_to("shop")) as before:
            await switch(shop, living)
            assert (before.embedder, before.dimension) == (SPEC.identity, 8)
            assert (await ids(before, unit_vectors(1, 3)))[0] == "p3"
            assert len(await ids(before, unit_vectors(1, 3))) == 5
            with shop.registry.lease(pass_to("shop")) as after:
                assert (after.embedder, after.dimension) == (OTHER.identity, 12)
                assert len(await ids(after, of_now(after))) == 5
        await asyncio.to_thread(living.catalog.upsert, [row("new", unit_vectors(1, 50, 12))])
        await asyncio.to_thread(living.catalog.delete, ["p0"])
        found = await shop.ids(unit_vectors(1, 50, 12))
        assert (found[0], sorted(found)) == ("new", ["new", "p1", "p2", "p3", "p4"])
    async with shop.open() as living:
        assert living.catalog.embedder == OTHER
        assert sorted(await shop.ids(unit_vectors(1, 50, 12))) == ["new", "p1", "p2", "p3", "p4"]


async def test_no_search_fails_while_the_embedder_changes_there_and_back(shop: Shop) -> None:
    async with shop.open() as living:
        made = await asyncio.to_thread(prepare, shop.path, living.catalog)
        seen: list[str] = []
        for number in (made.number, 1, made.number + 1):
            switching = asyncio.create_task(asyncio.to_thread(living.catalog.store.rollback, number))
            while not switching.done():
                with shop.registry.lease(pass_to("shop")) as snapshot:
                    seen.append(snapshot.embedder)
                    await asyncio.sleep(0)
                    assert len(await ids(snapshot, of_now(snapshot))) == 5
            await switching
        assert set(seen) == {SPEC.identity, OTHER.identity}
        with shop.registry.lease(pass_to("shop")) as snapshot:
            assert snapshot.embedder == OTHER.identity


async def test_an_embedder_that_is_not_served_is_refused_before_anything_is_changed(shop: Shop) -> None:
    async with shop.open(SPEC) as living:
        with pytest.raises(SightlineError, match="no embedder of this server is that of generation 2") as caught:
            await switch(shop, living)
        assert caught.value.kind is ErrorKind.EMBEDDER_NOT_SERVED
        assert living.catalog.embedder == SPEC
        assert len(await shop.ids(unit_vectors(1, 3))) == 5
        await asyncio.to_thread(living.catalog.delete, ["p0"])
        assert len(await shop.ids(unit_vectors(1, 3))) == 4


async def test_a_merge_that_runs_across_the_switch_is_dropped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.open(policy=OFTEN) as living:
        made = await asyncio.to_thread(prepare, shop.path, living.catalog)
        switched: list[object] = []

        def built_late(*arguments: object, **options: object) -> object:
            if not switched:
                switched.append(None)
                living.catalog.delete(["n0", "n1", "n2", "n3"])
                living.catalog.store.rollback(made.number)
            return build_snapshot(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(index_module, "build_snapshot", built_late)
        await asyncio.to_thread(living.catalog.upsert, [row(f"n{n}", unit_vectors(1, 40 + n)) for n in range(4)])
        await asyncio.to_thread(living.index.join)
        assert shop.merges.bad == 0
        assert sorted(await shop.ids(unit_vectors(1, 3, 12))) == [f"p{n}" for n in range(5)]


async def test_a_small_rollback_within_the_second_generation_keeps_its_base(shop: Shop) -> None:
    async with shop.open() as living:
        switched = await switch(shop, living)
        state = living.index.view().state
        await asyncio.to_thread(living.catalog.delete, ["p1"])
        await asyncio.to_thread(living.catalog.store.rollback, switched.number)
        assert living.index.view().state is state
        assert len(await shop.ids(unit_vectors(1, 3, 12))) == 5


async def test_a_switch_for_which_memory_was_short_is_shown_before_the_next_write(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*arguments: object, **options: object) -> object:
        raise MemoryError

    async with shop.open() as living:
        with monkeypatch.context() as patched:
            patched.setattr(index_module, "build_snapshot", short_of_memory)
            with pytest.raises(SightlineError, match="cannot be searched yet"):
                await switch(shop, living)
            assert len(await shop.ids(unit_vectors(1, 3))) == 5
        await asyncio.to_thread(living.catalog.upsert, [row("new", unit_vectors(1, 50, 12))])
        assert (await shop.ids(unit_vectors(1, 50, 12)))[0] == "new"


def of(embedder: EmbedderSpec, made: CatalogRow) -> CatalogRow:
    return replace(made, embedder=embedder)


Work = Callable[[GroupWriter], Awaitable[None]]


async def written(living: OpenLiving, work: Work) -> None:
    """Runs `work` with the writer of many callers."""
    writer = GroupWriter("shop", living.catalog, clock=asyncio.get_running_loop().time)
    writer.start()
    try:
        await work(writer)
    finally:
        await writer.close()


async def test_vectors_of_the_earlier_embedder_are_not_stored(shop: Shop) -> None:
    """Two embedders of one dimension: the vectors would fit."""

    async def work(writer: GroupWriter) -> None:
        old = of(SPEC, row("old", unit_vectors(1, 50)))
        await writer.upsert([old])
        made = await asyncio.to_thread(prepare, shop.path, living.catalog, LIKE)
        switching = asyncio.ensure_future(writer.activate(made.number))
        late = asyncio.ensure_future(writer.upsert([of(SPEC, row("late", unit_vectors(1, 51)))]))
        assert (await switching).generation == 2
        with pytest.raises(SightlineError) as caught:
            await late
        assert caught.value.kind is ErrorKind.EMBEDDER_CHANGED
        await writer.upsert([of(LIKE, row("new", unit_vectors(1, 52)))])

    async with shop.open(served(LIKE)) as living:
        await written(living, work)
        assert sorted(await shop.ids(unit_vectors(1, 3))) == ["new", "old", "p0", "p1", "p2", "p3", "p4"]


async def test_a_server_that_only_reads_takes_the_other_generation_by_a_reload(shop: Shop) -> None:
    shop.registry.publish(await open_snapshot(shop.path, "shop", BOTH, shop.device))
    shelf = RegistryShelf({"shop": shop.path}, shop.registry, shop.device, BOTH)
    reloader = CatalogReloader(shelf, shop.metrics)
    with LivingCatalog(shop.path) as catalog:
        catalog.store.rollback(prepare(shop.path, catalog).number)
    with shop.registry.lease(pass_to("shop")) as before:
        await reloader.reload(["shop"])
        assert len(await ids(before, unit_vectors(1, 3))) == 5
        assert sorted(await shop.ids(unit_vectors(1, 3, 12))) == [f"p{n}" for n in range(5)]
