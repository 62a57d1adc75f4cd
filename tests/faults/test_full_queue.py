"""More calls than slots: the rest are refused at once with a time to retry; accepted ones are served."""

import asyncio

import grpc
import pytest

from sightline.v1 import lens_service_pb2_grpc
from tests.support.lens import Failed, failed
from tests.support.rest import counted, unharmed
from tests.support.small_shop import PHOTO, paused_engine
from tests.support.world import RunningServer, asked

pytestmark = pytest.mark.engine
CALLS = 40
AT_ONCE_S = 2.0
PAUSE_S = 2.5


async def test_what_does_not_fit_is_refused_at_once_and_what_does_is_served(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        before = await counted(shop_server, "requests_total", code="RESOURCE_EXHAUSTED")
        loop = asyncio.get_running_loop()
        refusals: list[tuple[float, Failed]] = []

        async def one() -> bool:
            """Returns whether the call was served; a refusal is noted with the time that it took."""
            began = loop.time()
            call = lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(PHOTO, max_products=1), timeout=15)
            try:
                refusals.append((0.0, await failed(call)))
                refusals[-1] = (loop.time() - began, refusals[-1][1])
            except AssertionError:
                return True
            return False

        with paused_engine(shop_server):
            calls = [asyncio.create_task(one()) for _ in range(CALLS)]
            await asyncio.sleep(PAUSE_S)
            early = len(refusals)
        served = sum(await asyncio.gather(*calls))
        assert served + len(refusals) == CALLS
        assert served >= 2
        # Nobody who was let in is refused later.
        assert early == len(refusals)
        for seconds, error in refusals:
            assert seconds < AT_ONCE_S
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
            assert error.details["ErrorInfo"].metadata["limit"] in ("concurrency", "queue", "deadline")
        # Which limit it was depends on what the server has learnt of its engine: slots, the queue, or time.
        refused = await counted(shop_server, "requests_total", code="RESOURCE_EXHAUSTED") - before
        assert refused == len(refusals) > 0
