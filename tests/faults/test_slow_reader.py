"""Callers who do not read hold up nobody but themselves, cost a bounded piece of memory, and end by their deadline."""

import asyncio
from typing import Any

import grpc
import psutil
import pytest

from sightline.v1 import lens_service_pb2_grpc
from tests.support.rest import counted, good_answer, unharmed, until_inside
from tests.support.small_shop import PHOTO, PRODUCTS
from tests.support.world import RunningServer, asked

pytestmark = pytest.mark.engine
READERS = 4
GOOD = 5
DEADLINE_S = 12.0
"""Longer than it takes all of them to be inside, also on a busy machine; `until_inside` waits for the end of it."""
MORE_RSS = 40 << 20
FIXED_WINDOW = [("grpc.http2.bdp_probe", 0)]
"""A client that measures bandwidth lets its window grow: after a pause of the machine so far that all answers fit."""


async def test_readers_who_read_nothing_harm_nobody_else(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target, options=FIXED_WINDOW) as channel:
        served = await counted(shop_server, "requests_total", code="OK")
        process = psutil.Process(shop_server.pid)
        before = process.memory_info().rss
        calls = [await unread(channel) for _ in range(READERS)]
        await until_inside(shop_server, READERS)
        for _ in range(GOOD):
            await good_answer(shop_server)
        # All that they asked for has been found long ago; what they do not take is not sent.
        assert process.memory_info().rss < before + MORE_RSS
        await until_inside(shop_server, 0)
        assert await counted(shop_server, "requests_total", code="OK") == served + GOOD
        assert {await call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}


async def unread(channel: grpc.aio.Channel) -> Any:
    """A call for a long answer, of which only the first event is read."""
    stub = lens_service_pb2_grpc.LensServiceStub(channel)
    call: Any = stub.Search(asked(PHOTO, max_products=PRODUCTS), timeout=DEADLINE_S)
    assert (await call.read()).WhichOneof("event") == "accepted"
    return call


async def test_a_reader_who_pauses_gets_the_whole_answer(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target, options=FIXED_WINDOW) as channel:
        call = await unread(channel)
        await asyncio.sleep(1.0)
        events = []
        while (event := await call.read()) is not grpc.aio.EOF:
            events.append(event.WhichOneof("event"))
        assert events[0] == "detected"
        assert events[-1] == "done"
        assert set(events[1:-1]) == {"results"}
