"""An engine that is slow and not dead: callers get their answer late or miss their deadline, and no restart."""

import asyncio

import grpc
import pytest

from tests.support.rest import counted, good_answer, unharmed
from tests.support.small_shop import SLOW, paused_engine, photo_of
from tests.support.world import RunningServer, asked, refused

pytestmark = pytest.mark.engine


async def test_an_engine_that_stops_again_and_again_answers_late(shop_server: RunningServer) -> None:
    async with unharmed(shop_server):
        before = await counted(shop_server, "engine_restarts_total")
        callers = [asyncio.create_task(good_answer(shop_server)) for _ in range(4)]
        for _ in range(6):
            with paused_engine(shop_server):
                await asyncio.sleep(0.3)
            await asyncio.sleep(0.02)
        await asyncio.gather(*callers)
        assert await counted(shop_server, "engine_restarts_total") == before


async def test_a_photo_that_takes_the_model_too_long_misses_its_own_deadline_only(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        before = await counted(shop_server, "engine_restarts_total")
        error = await refused(channel, asked(photo_of(SLOW)), timeout_s=0.4)
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        # The batch still runs; the calls behind it have time enough.
        await good_answer(shop_server)
        assert await counted(shop_server, "engine_restarts_total") == before


async def test_calls_to_an_engine_that_does_not_move_end_at_their_deadlines(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        with paused_engine(shop_server):
            loop = asyncio.get_running_loop()
            began = loop.time()
            calls = [refused(channel, asked(photo_of(SLOW)), timeout_s=0.5 + 0.1 * n) for n in range(4)]
            codes = {error.code for error in await asyncio.gather(*calls)}
            # Admission may refuse some already because their time is too short.
            assert grpc.StatusCode.DEADLINE_EXCEEDED in codes
            assert codes <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert loop.time() - began < 2.0
