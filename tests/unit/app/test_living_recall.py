"""The live recall of a catalog that is written while it is searched: its base is measured whatever is written."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sightline_server.app.living import OpenLiving, open_living
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.policy import MergePolicy
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import until
from tests.unit.index.test_recall import ForgetfulIndex, Measured, measured

OFTEN = MergePolicy(images=4, images_share=0)


@asynccontextmanager
async def written(path: Path, policy: MergePolicy | None = None) -> AsyncIterator[tuple[Measured, OpenLiving]]:
    """A catalog of 400 products that is written, searched and measured."""
    write_catalog(path, [row(f"p{number:03}", unit_vectors(1, number)) for number in range(400)])
    device = DeviceThread()
    async with AsyncExitStack() as stack:
        stack.callback(device.close)
        live = await stack.enter_async_context(measured(every_s=0.001))
        opened = open_living(path, "shop", SPEC, device, live.registry, policy=policy)
        yield live, await stack.enter_async_context(opened)


async def test_recall_is_measured_although_products_were_written(tmp_path: Path) -> None:
    async with written(tmp_path / "shop") as (live, living):
        await asyncio.to_thread(
            living.catalog.upsert, [row("new", unit_vectors(1, 1)), row("p007", unit_vectors(1, 2))]
        )
        await asyncio.to_thread(living.catalog.delete, [f"p{number:03}" for number in range(100, 200)])
        sets = live.sets()
        await until(lambda: live.sets() > sets + 3)
        assert live.recall() == 1.0
        assert live.sets("failed") == 0


async def test_bad_base_is_named_although_products_were_written(tmp_path: Path) -> None:
    async with written(tmp_path / "shop") as (live, living):
        vectors = open_catalog(tmp_path / "shop").vectors
        await asyncio.to_thread(living.catalog.delete, ["p001"])
        base = living.index.view().state.base
        bad = base._device.call(lambda: ForgetfulIndex(vectors, use_gpu=False))
        good, base.index = base.index, bad
        await until(lambda: (live.recall() or 1.0) < 0.95)
        base.index = good
        await until(lambda: live.recall() == 1.0)


async def test_recall_of_a_merged_base_is_measured(tmp_path: Path) -> None:
    async with written(tmp_path / "shop", OFTEN) as (live, living):
        await until(lambda: live.sets() > 1)
        rows = [row(f"new{number}", unit_vectors(1, 500 + number)) for number in range(5)]
        await asyncio.to_thread(living.catalog.upsert, rows)
        await asyncio.to_thread(living.index.join)
        assert living.index.view().state.base_images == 405
        await asyncio.to_thread(living.catalog.delete, ["p001"])
        sets = live.sets()
        await until(lambda: live.sets() > sets + 3)
        assert live.recall() == 1.0


async def test_recall_of_a_base_that_a_rollback_made_is_measured(tmp_path: Path) -> None:
    async with written(tmp_path / "shop", MergePolicy(rows=3)) as (live, living):
        await asyncio.to_thread(living.catalog.delete, [f"p{number:03}" for number in range(10)])
        before = living.index.view().state.base
        await asyncio.to_thread(living.catalog.store.rollback, 1)
        base = living.index.view().state.base
        assert base is not before, "more products than the policy allows were brought back"
        await until(lambda: len(base.probes) > 0)
        sets = live.sets()
        await until(lambda: live.sets() > sets + 3)
        assert (live.recall(), base.product_count) == (1.0, 400)
