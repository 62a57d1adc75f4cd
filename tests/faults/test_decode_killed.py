"""Decode processes of a real server: none outlives it, however it ends."""

import asyncio
import time
from collections.abc import Iterator

import grpc
import psutil
import pytest

from tests.support.isolation import decoders
from tests.support.pictures import tiff_of_tiny_tiles
from tests.support.small_shop import SmallShop, serving
from tests.support.world import RunningServer, asked, search

pytestmark = pytest.mark.engine
SLOW_TIFF = tiff_of_tiny_tiles(2000)
GONE_WITHIN_S = 20.0


@pytest.fixture
def victim(shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that takes TIFF."""
    log = tmp_path_factory.mktemp("decode") / "server.log"
    with serving(shop, log, SIGHTLINE_DECODE__FORMATS='["jpeg", "tiff"]') as made:
        yield made


async def test_a_killed_server_leaves_no_decode_process(victim: RunningServer) -> None:
    async with grpc.aio.insecure_channel(victim.target) as channel:
        call = asyncio.create_task(search(channel, asked(SLOW_TIFF), 30.0))
        async with asyncio.timeout(GONE_WITHIN_S):
            while not (found := decoders(victim.pid)):  # noqa: ASYNC110 (another process gives no event)
                await asyncio.sleep(0.02)
        psutil.Process(victim.pid).kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    deadline = time.monotonic() + GONE_WITHIN_S
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in found):
        assert time.monotonic() < deadline
