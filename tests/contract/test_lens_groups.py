"""`one_per_group` through a real channel and a real index: the variants of one article do not fill the answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.snapshot import CatalogSnapshot
from tests.support.asking import asked, events_of
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.lens import FakeEngine, Served, serving

EMBEDDER = FakeEngine().embedder
# The direction in which the fake embedder sees the photo does not matter: all vectors of the cup are one.
CUP = np.full((1, 4), 0.5, np.float32)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[CatalogSnapshot]:
    """Twelve sizes of one cup, of which one can be bought; three plates of one group; nine others."""
    sizes = [
        row(f"cup-{n:02}", CUP, item_group_id="cup", availability="in_stock" if n == 7 else "out_of_stock")
        for n in range(12)
    ]
    plates = [row(f"plate-{n}", unit_vectors(1, n, dimension=4), item_group_id="plate") for n in range(3)]
    others = [row(f"other-{n}", unit_vectors(1, 10 + n, dimension=4)) for n in range(9)]
    write_catalog(tmp_path / "shop", [*sizes, *plates, *others], EMBEDDER)
    device = DeviceThread()
    opened = await open_snapshot(tmp_path / "shop", "default", EMBEDDER, device)
    yield opened
    await opened.close()
    device.close()


async def found(served: Served, **fields: object) -> list[list[str]]:
    """The product ids of each object."""
    events = await events_of(served.search(asked(**fields)))
    return [[each.product.id for each in event.results.products] for event in events if event.HasField("results")]


def cups(ids: list[str]) -> list[str]:
    return [each for each in ids if each.startswith("cup")]


@pytest.mark.parametrize("default", [False, True])
async def test_one_of_each_group_where_the_request_or_the_server_says_so(index: CatalogSnapshot, default: bool) -> None:
    async with serving(index=index, ranking={"one_per_group": default}) as served:
        for ids in await found(served, one_per_group=True):
            assert len(ids) == 10, "eleven groups fill ten ranks"
            assert cups(ids) == ["cup-07"], "the one in stock stands for its group"
            assert len([each for each in ids if each.startswith("plate")]) <= 1
        for ids in await found(served, one_per_group=False, max_products=24):
            assert len(ids) == 24
        for ids in await found(served, max_products=24):
            assert len(ids) == (11 if default else 24)


async def test_calls_with_and_without_share_a_batch_and_get_their_own(index: CatalogSnapshot) -> None:
    async with serving(index=index) as served:
        plain, grouped = await found(served, max_products=5), await found(served, max_products=5, one_per_group=True)
        assert plain != grouped
        asking = [found(served, max_products=5, one_per_group=bool(number % 2)) for number in range(8)]
        for number, answer in enumerate(await asyncio.gather(*asking)):
            assert answer == (grouped if number % 2 else plain)
