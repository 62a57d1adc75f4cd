"""Calls that share batches: who is with whom, who goes first, and who is refused."""

import asyncio
from functools import partial
from typing import Any

import grpc
import numpy as np

from tests.support.asking import asked, events_of, kinds
from tests.support.lens import FakeRunner, detections, failed, serving, two_objects, until
from tests.support.pictures import encode


def at_the_engine(model: FakeRunner, batches: int) -> bool:
    return len(model.batches) == batches


async def test_the_next_batch_is_at_the_engine_before_the_first_ends() -> None:
    async with serving(batching={}) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        calls = []
        for at_engine in (1, 2, 2):
            calls.append(served.search(asked()))
            await calls[-1].read()
            await until(partial(at_the_engine, detector, at_engine))
        await until(lambda: served.pipeline.look.frames.waiting == 1)
        assert detector.batches == [1, 1]
        detector.gate.set()
        for call in calls:
            assert kinds(await events_of(call))[-1] == "done"


async def test_photos_of_many_callers_share_calls_and_answers_stay_apart() -> None:
    async with serving(limits={"max_concurrent_calls": 8}) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        first = asyncio.create_task(events_of(served.search(asked())))
        await detector.started.wait()
        detector.replies = [two_objects, lambda batch: each_its_own(batch)]
        others = [asyncio.create_task(events_of(served.search(asked()))) for _ in range(6)]
        await until(lambda: served.pipeline.look.frames.waiting == 6)
        detector.gate.set()
        await first
        found = [events[1].detected.objects[0].score for events in await asyncio.gather(*others)]
        assert detector.batches == [1, 6]
        assert sorted(found) == [0.5 + n / 16 for n in range(6)]


def each_its_own(batch: int) -> Any:
    """One chair per image, with another score in each."""
    answer = dict(detections(batch, ((0.1, 0.1, 0.9, 0.9), 0.0, 0)))
    answer["SCORES"] = np.array([[0.5 + n / 16] for n in range(batch)], np.float32)
    return answer


async def test_interactive_calls_go_before_batch_callers() -> None:
    async with serving(batching={"frames": {"max_batch": 1, "slots": 1}}) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()

        async def run(grey: int, lane: int) -> None:
            photo = encode(np.full((64, 64, 3), grey, np.uint8), "PNG")
            await events_of(served.search(asked(photo=photo, lane=lane)))

        first = asyncio.create_task(run(10, 1))
        await detector.started.wait()
        patient = asyncio.create_task(run(20, 2))
        await until(lambda: served.pipeline.look.frames.waiting == 1)
        urgent = asyncio.create_task(run(30, 1))
        await until(lambda: served.pipeline.look.frames.waiting == 2)
        detector.gate.set()
        await asyncio.gather(first, patient, urgent)
        assert [int(part.mean()) for part in detector.parts] == [10, 30, 20]


async def test_a_full_house_refuses_at_once_and_takes_the_next_when_one_has_left() -> None:
    async with serving(limits={"max_concurrent_calls": 2}) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        inside = [served.search(asked()) for _ in range(2)]
        for call in inside:
            await call.read()
        for _ in range(20):
            error = await failed(served.search(asked()))
            assert (error.events, error.code, error.reason) == ([], grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert set(error.details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
            assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
            assert error.details["QuotaFailure"].violations[0].description == error.message
        # Seconds from the handler's entry. The median: a busy test machine may take the core away now and then.
        assert served.value("refusal_seconds_count", reason="OVERLOADED") == 20
        assert served.value("refusal_seconds_bucket", reason="OVERLOADED", le="0.01") >= 10
        detector.gate.set()
        for call in inside:
            assert kinds(await events_of(call))[-1] == "done"
        assert kinds(await events_of(served.search(asked())))[-1] == "done"


async def test_a_full_queue_behind_the_door_refuses_too() -> None:
    queues = {"frames": {"max_batch": 1, "max_waiting": 1, "slots": 1}}
    async with serving(batching=queues) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        running = served.search(asked())
        await detector.started.wait()
        waiting = served.search(asked())
        await until(lambda: served.pipeline.look.frames.waiting == 1)
        error = await failed(served.search(asked()))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert set(error.details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
        detector.gate.set()
        for call in (running, waiting):
            assert kinds(await events_of(call))[-1] == "done"
