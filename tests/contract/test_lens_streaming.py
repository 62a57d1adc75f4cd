"""The first object's products are sent while the other objects are still being embedded, and what happens to them."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import CoroutineType
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import lens_service_pb2
from sightline_server import pipeline
from sightline_server.domain.image import Crop, Frame
from sightline_server.domain.models import BatchCost
from sightline_server.domain.stages import STAGE_NAMES
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.search import VectorQuery
from sightline_server.telemetry.stopwatch import PLACES
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import (
    CHAIR,
    PLAIN_STAGES,
    VASE,
    Answer,
    FakeEngine,
    FakeRunner,
    Served,
    detections,
    embeddings,
    serving,
    until,
)

PIPELINE = str(Path(pipeline.__file__).parent)
CUP = (0.125, 0.5, 0.25, 0.75)


@dataclass
class HeldRunner(FakeRunner):
    """An embedder whose batches after the first wait until `rest` is set."""

    rest: asyncio.Event = field(default_factory=asyncio.Event)

    async def infer(self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None) -> Answer:
        later = bool(self.batches)
        reply = await super().infer(inputs, deadline=deadline)
        if later:
            await self.rest.wait()
        return reply


def engine_on_a_cpu() -> FakeEngine:
    """An engine that sees three objects, and an embedder whose batches cost what their crops cost."""
    engine = FakeEngine()
    engine.embedder = replace(engine.embedder, batch_cost=BatchCost.LINEAR)
    engine.models["detector"].usual = lambda parts: detections(
        len(parts), (CHAIR, 0.75, 0), (VASE, 0.5, 1), (CUP, 0.375, 1)
    )
    return engine


SLOTS = {"crops": {"slots": 2}}
"""As many as the default settings give a model with one instance."""


@asynccontextmanager
async def on_a_cpu() -> AsyncIterator[tuple[Served, HeldRunner]]:
    """A server on such an engine that holds what is embedded after the first batch."""
    engine = engine_on_a_cpu()
    embedder = HeldRunner(embeddings)
    engine.models["embedder"] = embedder
    async with serving(engine=engine, batching=SLOTS) as served:
        yield served, embedder


async def read(call: Any, count: int) -> list[lens_service_pb2.SearchResponse]:
    """The next `count` events."""
    return [await call.read() for _ in range(count)]


def left_calls(served: Served) -> dict[tuple[str, str], float]:
    """The moments at which calls were left, with their numbers."""
    counts = {place: served.value("left_calls_total", stage=place[0], moment=place[1]) for place in PLACES}
    return {place: count for place, count in counts.items() if count}


async def nothing_left(served: Served) -> None:
    """Returns when no call, no queue, no batch and no lease is there any more."""
    await served.gone()
    await until(lambda: served.value("in_flight") == 0)
    await until(lambda: not served.crops._running and not served.pipeline.find.queries._running)
    assert served.crops.waiting == served.pipeline.find.queries.waiting == 0
    assert [held.leases for held in served.catalogs._current.values()] == [0]
    assert tasks_of_the_pipeline() == []


def tasks_of_the_pipeline() -> list[asyncio.Task[Any]]:
    """The tasks that run a function of the pipeline."""
    coroutines = {task: task.get_coro() for task in asyncio.all_tasks()}
    return [
        task
        for task, coroutine in coroutines.items()
        if isinstance(coroutine, CoroutineType) and coroutine.cr_code.co_filename.startswith(PIPELINE)
    ]


async def test_the_first_object_is_answered_while_the_others_are_embedded() -> None:
    async with on_a_cpu() as (served, embedder):
        call = served.search(asked())
        events = await read(call, 3)
        assert kinds(events) == ["accepted", "detected", "results"]
        assert events[2].results.object_id == "o1"
        assert len(events[2].results.products) == 5
        await until(lambda: embedder.batches == [1, 2])
        assert tasks_of_the_pipeline()
        embedder.rest.set()
        rest = await events_of(call)
        assert kinds(rest) == ["results", "results", "done"]
        assert [event.results.object_id for event in rest[:2]] == ["o2", "o3"]
        assert served.value("objects_total", outcome="searched") == 3
        await nothing_left(served)
        assert left_calls(served) == {}


async def test_photos_that_find_the_embedder_at_work_stay_whole_and_fill_its_batches() -> None:
    async with on_a_cpu() as (served, embedder):
        calls = [served.search(asked())]
        await read(calls[0], 3)
        await until(lambda: embedder.batches == [1, 2])
        calls.append(served.search(asked()))
        await until(lambda: embedder.batches == [1, 2, 3])
        for waiting in (3, 6):
            calls.append(served.search(asked()))
            await until(partial(queue_holds, served, waiting))
        embedder.rest.set()
        assert [len(await events_of(call)) for call in calls] == [3, 6, 6, 6]
        assert embedder.batches == [1, 2, 3, 6]


def queue_holds(served: Served, crops: int) -> bool:
    return bool(served.crops.waiting == crops)


async def test_times_that_overlap_count_once_and_stay_within_the_whole() -> None:
    async with on_a_cpu() as (served, embedder):
        call = served.search(asked())
        await read(call, 3)
        await until(lambda: len(embedder.batches) == 2)
        embedder.rest.set()
        timings = (await events_of(call))[-1].done.timings
        assert 0 < max(getattr(timings, f"{name}_ms") for name in STAGE_NAMES) <= timings.total_ms
        assert 0 <= timings.queue_ms <= timings.total_ms
        await nothing_left(served)
        for name in STAGE_NAMES:
            assert served.value("stage_seconds_count", stage=name) == (name in PLAIN_STAGES), name


async def test_an_embedder_that_shares_the_cost_of_a_batch_gets_the_objects_together() -> None:
    engine = engine_on_a_cpu()
    engine.embedder = replace(engine.embedder, batch_cost=BatchCost.SHARED)
    async with serving(engine=engine) as served:
        assert kinds(await events_of(served.search(asked())))[2:] == ["results", "results", "results", "done"]
        assert engine.models["embedder"].batches == [3]


@pytest.mark.parametrize("one_per_group", [False, True])
async def test_the_answer_is_the_same_in_portions_and_at_once(one_per_group: bool) -> None:
    answers = []
    for cost in BatchCost:
        engine = engine_on_a_cpu()
        engine.embedder = replace(engine.embedder, batch_cost=cost)
        async with serving(engine=engine, batching=SLOTS) as served:
            events = await events_of(served.search(asked(one_per_group=one_per_group, max_products=3)))
            assert engine.models["embedder"].batches == ([1, 2] if cost is BatchCost.LINEAR else [3])
            answers.append([event.SerializeToString(deterministic=True) for event in events[1:-1]])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4


async def test_a_caller_who_leaves_after_the_first_object_leaves_nothing() -> None:
    older = {id(each) for each in kept()}
    async with on_a_cpu() as (served, embedder):
        call = served.search(asked())
        await read(call, 3)
        await until(lambda: embedder.batches == [1, 2])
        call.cancel()
        await until(lambda: served.value("requests_total", method="Search", code="CANCELLED") == 1)
        await served.gone()
        embedder.rest.set()
        await nothing_left(served)
        # The moment is the one in which the call itself was; its steps that were ended count no second one.
        assert sum(left_calls(served).values()) == 1
        assert served.value("wasted_items_total", batcher="crops") == 2
        embedder.parts.clear()
        del call
        await until(lambda: [each for each in kept() if id(each) not in older] == [])
        assert kinds(await events_of(served.search(asked())))[-1] == "done"


async def test_a_caller_who_leaves_takes_the_waiting_objects_out_of_the_queue() -> None:
    async with on_a_cpu() as (served, embedder):
        running = [served.search(asked())]
        await read(running[0], 3)
        await until(lambda: embedder.batches == [1, 2])
        running.append(served.search(asked()))
        await until(lambda: embedder.batches == [1, 2, 3])
        waiting = served.search(asked())
        await until(partial(queue_holds, served, 3))
        waiting.cancel()
        await until(partial(queue_holds, served, 0))
        assert served.value("dropped_items_total", batcher="crops", reason="cancelled") == 3
        await until(lambda: left_calls(served) == {("embed", "before"): 1})
        embedder.rest.set()
        assert [len(await events_of(call)) for call in running] == [3, 6]
        assert embedder.batches == [1, 2, 3]
        await nothing_left(served)


@pytest.mark.parametrize(
    ("replies", "events"),
    [
        ([embeddings, RuntimeError("secret words")], ["results", "failure", "failure", "done"]),
        ([RuntimeError("secret words"), embeddings], ["failure", "results", "results", "done"]),
        ([embeddings, "nan"], ["results", "failure", "results", "done"]),
        (["nan", embeddings], ["failure", "results", "results", "done"]),
    ],
    ids=["rest raises", "first raises", "one of the rest is not finite", "first is not finite"],
)
async def test_a_portion_that_fails_fails_its_own_objects(replies: list[Any], events: list[str]) -> None:
    async with on_a_cpu() as (served, embedder):
        embedder.rest.set()
        embedder.replies = [reply if isinstance(reply, Exception) else to_reply(reply) for reply in replies]
        seen = await events_of(served.search(asked()))
        assert kinds(seen) == ["accepted", "detected", *events]
        answered = [event.results.object_id or event.failure.object_id for event in seen[2:-1]]
        assert answered == ["o1", "o2", "o3"]
        assert "secret" not in str(seen)
        assert served.value("objects_total", outcome="searched") == events.count("results")
        await nothing_left(served)


def to_reply(what: Any) -> Any:
    """A reply of `n` embeddings, the first of them not finite for "nan"."""
    return lambda n: {
        "EMBEDDINGS": np.array([[np.nan if what == "nan" and not place else 1, 0, 0, 0] for place in range(n)], "f4")
    }


async def test_an_engine_that_goes_after_the_first_object_ends_the_stream() -> None:
    async with on_a_cpu() as (served, embedder):
        gone = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine is not available", retry_after_s=2.5)
        embedder.rest.set()
        embedder.replies = [to_reply("good"), gone]
        call = served.search(asked())
        assert kinds(await read(call, 3)) == ["accepted", "detected", "results"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events_of(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await nothing_left(served)
        assert left_calls(served) == {}


async def test_a_first_object_that_ends_the_call_ends_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with on_a_cpu() as (served, embedder):
        embedder.gate.clear()
        call = served.search(asked())
        await read(call, 2)
        await until(lambda: embedder.batches == [1, 2])
        gone = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine is not available", retry_after_s=2.5)
        embedder.replies = [gone]
        embedder.gate.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events_of(call)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await served.gone()
        embedder.rest.set()
        await nothing_left(served)
        # Nobody left the call: it failed.
        assert left_calls(served) == {}
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_deadline_between_the_first_object_and_the_others_ends_the_call() -> None:
    async with on_a_cpu() as (served, embedder):
        call = served.search(asked(), timeout=2.0)
        assert kinds(await read(call, 3)) == ["accepted", "detected", "results"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await events_of(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await served.gone()
        embedder.rest.set()
        await nothing_left(served)


async def test_a_first_object_on_a_person_is_refused_and_the_next_one_goes_first() -> None:
    async with on_a_cpu() as (served, embedder):
        served.engine.models["detector"].usual = lambda parts: detections(len(parts), (CHAIR, 0.9, 2))
        regions = [box(*CHAIR), box(*VASE), box(0.6, 0.1, 0.9, 0.3)]
        call = served.search(asked(regions=regions))
        events = await read(call, 4)
        assert kinds(events) == ["accepted", "detected", "failure", "results"]
        assert (events[2].failure.object_id, events[3].results.object_id) == ("o1", "o2")
        await until(lambda: embedder.batches == [1, 1])
        embedder.rest.set()
        assert kinds(await events_of(call)) == ["results", "done"]


def kept() -> list[object]:
    """The objects of photos that are still in memory."""
    gc.collect()
    return [found for found in gc.get_objects() if type(found) in (Frame, Crop, VectorQuery)]
