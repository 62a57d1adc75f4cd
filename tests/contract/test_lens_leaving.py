"""Cancelled calls: they free their memory, are counted once, and leave nothing of their photos."""

import asyncio
import gc
import logging
import random
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from sightline.v1 import lens_service_pb2
from sightline_server.domain.image import Crop, Frame, ModelInput
from sightline_server.domain.request import SearchQuery
from sightline_server.stages.search import VectorQuery
from sightline_server.telemetry.stopwatch import PLACES
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.lens import failed, serving, until


async def test_a_caller_who_leaves_frees_the_queue() -> None:
    async with serving() as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        running = served.search(asked())
        await running.read()
        await detector.started.wait()
        waiting = [served.search(asked()) for _ in range(4)]
        for call in waiting:
            await call.read()
        await until(lambda: served.pipeline.look.frames.waiting == 4)
        for call in waiting:
            call.cancel()
        await until(lambda: served.pipeline.look.frames.waiting == 0)
        assert served.value("dropped_items_total", batcher="frames", reason="cancelled") == 4
        detector.gate.set()
        assert kinds(await events_of(running))[-1] == "done"
        assert detector.batches == [1], "nobody's photo was run in vain"
        await until(lambda: served.value("requests_total", method="Search", code="CANCELLED") == 4)
        assert served.value("in_flight") == 0


async def test_where_a_caller_leaves_is_counted() -> None:
    async with serving() as served:
        detector, embedder = served.engine.models["detector"], served.engine.models["embedder"]
        detector.gate.clear()
        running = served.search(asked())
        await detector.started.wait()
        waiting = served.search(asked())
        await until(lambda: served.pipeline.look.frames.waiting == 1)
        for call in (running, waiting):
            call.cancel()
        await until(lambda: served.value("left_calls_total", stage="detect", moment="in") == 1)
        await until(lambda: served.value("left_calls_total", stage="detect", moment="before") == 1)
        detector.gate.set()
        embedder.gate.clear()
        embedding = served.search(asked())
        await embedder.started.wait()
        embedding.cancel()
        await until(lambda: served.value("left_calls_total", stage="embed", moment="in") == 1)
        embedder.gate.set()
        await events_of(served.search(asked()))
        assert sum(served.value("left_calls_total", stage=stage, moment=moment) for stage, moment in PLACES) == 3


async def test_a_caller_who_leaves_while_running_leaves_its_batch_mates_answered() -> None:
    async with serving() as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        first = served.search(asked())
        await first.read()
        await detector.started.wait()
        stay, leave = served.search(asked()), served.search(asked())
        for call in (stay, leave):
            await call.read()
        await until(lambda: served.pipeline.look.frames.waiting == 2)
        detector.gate.set()
        detector.gate.clear()
        await until(lambda: detector.batches == [1, 2])
        leave.cancel()
        await until(lambda: served.value("requests_total", method="Search", code="CANCELLED") == 1)
        detector.gate.set()
        for call in (first, stay):
            assert kinds(await events_of(call))[-1] == "done"
        assert served.value("wasted_items_total", batcher="frames") == 1


async def test_callers_who_leave_at_any_moment_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(5)
    async with serving() as served:
        for _ in range(40):
            calls = [served.search(asked()) for _ in range(6)]
            await asyncio.gather(*(leave(call, chance.randrange(7)) for call in calls))
        await served.gone()
        await until(lambda: served.value("in_flight") == 0)
        assert served.pipeline.look.frames.waiting == served.crops.waiting == 0
        ends = {code: served.value("requests_total", method="Search", code=code) for code in ("OK", "CANCELLED")}
        refused = served.value("requests_total", method="Search", code="RESOURCE_EXHAUSTED")
        assert sum(ends.values()) + refused <= 240
        for code in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"):
            assert served.value("requests_total", method="Search", code=code) == 0
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def leave(call: Any, after: int) -> None:
    """Reads `after` events and cancels."""
    try:
        for _ in range(after):
            await call.read()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
    call.cancel()


@pytest.fixture
def silent() -> Iterator[None]:
    """Nothing is logged: pytest keeps every record of the log with its traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silent")
async def test_everything_of_a_photo_is_gone_with_its_call() -> None:
    """No cache, no traceback and no queue keeps a photo, a frame, a crop or an embedding."""
    # What other tests of this session left behind is theirs.
    older = {id(found) for found in collected(KEPT)}
    async with serving() as served:
        embedder, detector = served.engine.models["embedder"], served.engine.models["detector"]
        embedder.replies = [{"EMBEDDINGS": np.full((2, 4), np.nan, np.float32)}]
        for _ in range(2):
            await events_of(served.search(asked()))
        detector.replies = [RuntimeError("the model fell over")]
        await failed(served.search(asked()))
        detector.gate.clear()
        left = served.search(asked())
        await left.read()
        left.cancel()
        await served.gone()
        await until(lambda: served.value("in_flight") == 0)
        detector.gate.set()
        await until(lambda: not served.pipeline.look.frames._running)
        await failed(served.search(asked(photo=PHOTO[:-300])))
        # What the fakes and the client's call remember is theirs.
        del left
        detector.parts.clear()
        embedder.parts.clear()
        await until(lambda: [type(found) for found in collected(KEPT) if id(found) not in older] == [])


KEPT = (Frame, ModelInput, Crop, SearchQuery, VectorQuery, lens_service_pb2.SearchRequest)


def collected(kinds: tuple[type, ...]) -> list[object]:
    """The objects of these kinds that are still alive after a collection."""
    gc.collect()
    return [found for found in gc.get_objects() if type(found) in kinds]
