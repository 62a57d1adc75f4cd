"""A second round: what callers that ask for it get through a real channel, and what it costs the others."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.models import DetectorSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.search import second_round
from sightline_server.stages.redact import GREY
from sightline_server.stages.tiles import tile_input
from sightline_server.telemetry.stopwatch import PLACES
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import Answer, FakeEngine, FakeRunner, Served, detections, failed, serving, until
from tests.support.pictures import encode, gradient

PHOTO = encode(gradient(100, 100))
LAMP, PERSON = (0.7, 0.7, 0.9, 0.9), (0.25, 0.0, 0.75, 1.0)
CUP = (0.25, 0.25, 0.5, 0.5)
"""In the first tile, which is the upper left corner of the photo: 0.15..0.3 of it."""
Rows = Sequence[tuple[tuple[float, ...], float, int]]
LIMITS = {"default_products": 2}
FIRST: Rows = [(LAMP, 0.75, 1)]


def script(first: Rows, *tiles: Rows) -> list[Any]:
    """The detector's answers for a photo and for its five tiles."""
    rows = [first, *tiles, *([()] * (5 - len(tiles)))]
    return [detections(1, *each) for each in rows]


def closer(**fields: Any) -> pb.SearchRequest:
    """A request for a second round."""
    return asked(**{"photo": PHOTO, "look_closer": True, **fields})


async def searched(served: Served, answers: list[Any], **fields: Any) -> list[pb.SearchResponse]:
    """The events of a search for which the detector gives `answers`."""
    served.engine.models["detector"].replies = answers
    return await events_of(served.search(closer(**fields)))


def rounds(served: Served) -> dict[str, float]:
    """The outcomes that were counted."""
    counts = {
        each: served.value("second_rounds_total", outcome=each) for each in ("found", "nothing", "skipped", "failed")
    }
    return {outcome: count for outcome, count in counts.items() if count}


async def test_further_objects_come_after_the_first_answer() -> None:
    async with serving(limits=LIMITS) as served:
        events = await searched(served, script(FIRST, [(CUP, 0.5, 0)]))
        assert kinds(events) == ["accepted", "detected", "results", "detected", "results", "done"]
        first, further = events[1].detected, events[3].detected
        assert ([each.object_id for each in first.objects], first.further) == (["o1"], False)
        assert (further.further, further.redacted) == (True, 0)
        (cup,) = further.objects
        assert (cup.object_id, cup.label, cup.source) == ("o2", "chair", pb.OBJECT_SOURCE_DETECTOR)
        assert (cup.box.x_min, cup.box.y_min, cup.box.x_max, cup.box.y_max) == pytest.approx((0.15, 0.15, 0.3, 0.3))
        assert [event.results.object_id for event in (events[2], events[4])] == ["o1", "o2"]
        assert [len(event.results.products) for event in (events[2], events[4])] == [2, 2]
        assert served.engine.models["detector"].batches == [1] * 6
        assert served.engine.models["embedder"].batches == [1, 1]
        done = events[-1].done
        assert done.timings.look_closer_ms > 0
        assert list(done.skipped) == []
        assert rounds(served) == {"found": 1}
        assert served.value("stage_seconds_count", stage="look_closer") == 1
        assert served.value("objects_total", outcome="searched") == 2


async def test_a_search_without_it_does_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_round, "tile_input", None)
    async with serving() as served:
        events = await searched(served, script(FIRST, [(CUP, 0.5, 0)]), look_closer=False)
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert served.engine.models["detector"].batches == [1]
        assert events[-1].done.timings.look_closer_ms == 0
        assert rounds(served) == {}
        assert served.value("stage_seconds_count", stage="look_closer") == 0


async def test_without_further_objects_the_second_event_is_empty() -> None:
    async with serving() as served:
        again = (1 / 6, 1 / 6, 0.5, 0.5)
        events = await searched(served, script([((0.1, 0.1, 0.3, 0.3), 0.75, 1)], [(again, 0.5, 0)]))
        assert kinds(events) == ["accepted", "detected", "results", "detected", "done"]
        assert (events[3].detected.further, len(events[3].detected.objects)) == (True, 0)
        assert rounds(served) == {"nothing": 1}


async def test_the_whole_photo_is_searched_and_then_what_the_tiles_show() -> None:
    async with serving() as served:
        events = await searched(served, script([], [(CUP, 0.5, 0)]))
        assert kinds(events) == ["accepted", "detected", "results", "detected", "results", "done"]
        assert events[1].detected.objects[0].source == pb.OBJECT_SOURCE_WHOLE_PHOTO
        assert events[3].detected.objects[0].source == pb.OBJECT_SOURCE_DETECTOR


async def test_max_objects_counts_all_objects() -> None:
    cups: Rows = [(CUP, 0.5, 0), ((0.6, 0.6, 0.8, 0.8), 0.6, 0)]
    async with serving() as served:
        events = await searched(served, script(FIRST, cups), max_objects=2)
        assert [each.score for each in events[3].detected.objects] == pytest.approx([0.6])
        served.engine.models["detector"].batches.clear()
        events = await searched(served, script(FIRST, cups), max_objects=1)
        assert kinds(events) == ["accepted", "detected", "results", "detected", "done"]
        assert served.engine.models["detector"].batches == [1], "there is no room for further objects"
        assert rounds(served) == {"found": 1, "nothing": 1}


async def test_a_person_whom_only_a_tile_shows_is_grey_for_the_further_objects() -> None:
    person = (0.4, 0.25, 0.9, 0.95)
    for detection, grey in (({}, 1), ({"redact_people": False}, 0)):
        async with serving(detection=detection) as served:
            events = await searched(served, script(FIRST, [(CUP, 0.5, 0), (person, 0.5, 2)]))
            assert (events[1].detected.redacted, events[3].detected.redacted) == (0, grey)
            (cup,) = events[3].detected.objects
            assert cup.label == "chair"
            _, crop = served.engine.models["embedder"].parts
            # The person, 3 % larger, covers the right 46 % of the cup's width.
            assert (crop[:, 10:] == GREY).all() == grey
            assert not (crop[:, :7] == GREY).all(axis=-1).any()


async def test_nothing_on_a_person_is_embedded() -> None:
    carried = (0.5, 0.4, 0.6, 0.5)
    person = (0.3, 0.1, 0.9, 0.9)
    async with serving() as served:
        events = await searched(served, script(FIRST, [(carried, 0.75, 0), (person, 0.5, 2)]))
        assert kinds(events) == ["accepted", "detected", "results", "detected", "done"]
        assert (events[3].detected.redacted, len(events[3].detected.objects)) == (1, 0)
        assert served.engine.models["embedder"].batches == [1]
        # A person of the first round counts as well.
        rows: Rows = [(LAMP, 0.75, 1), ((0.1, 0.1, 0.5, 0.5), 0.75, 2)]
        events = await searched(served, script(rows, [(CUP, 0.5, 0)]))
        assert (events[1].detected.redacted, events[3].detected.redacted) == (1, 0)
        assert len(events[3].detected.objects) == 0


async def test_a_photo_of_people_has_no_second_round() -> None:
    async with serving() as served:
        events = await searched(served, script([(PERSON, 0.75, 2)], [(CUP, 0.5, 0)]))
        assert kinds(events) == ["accepted", "detected", "detected", "done"]
        assert events[-1].done.notice == pb.NOTICE_PERSON_ONLY
        assert served.engine.models["detector"].batches == [1]
        assert served.engine.models["embedder"].batches == []


async def test_with_a_near_deadline_it_is_left_out_and_the_answer_says_so() -> None:
    async with serving(detection={"second_round_min_time_left_s": 1000}) as served:
        events = await searched(served, script(FIRST, [(CUP, 0.5, 0)]))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert list(events[-1].done.skipped) == [pb.SKIPPED_STEP_LOOK_CLOSER]
        assert served.engine.models["detector"].batches == [1]
        assert rounds(served) == {"skipped": 1}


@dataclass
class HeldDetector(FakeRunner):
    """A detector that gives the first answer, and holds the others until `rest` is set or their deadline passes."""

    rest: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def infer(self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None) -> Answer:
        if self.batches:
            self.held.set()
            self.gate = self.rest
        return await super().infer(inputs, deadline=deadline)


def held() -> tuple[FakeEngine, HeldDetector]:
    """An engine with a detector that holds the tiles."""
    engine = FakeEngine()
    detector = HeldDetector(lambda parts: detections(len(parts), *FIRST))
    engine.models["detector"] = detector
    return engine, detector


async def test_a_detector_that_is_too_slow_costs_the_further_objects_alone() -> None:
    engine, _ = held()
    async with serving(engine=engine, detection={"second_round_min_time_left_s": 9.5}) as served:
        events = await events_of(served.search(closer()))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert list(events[-1].done.skipped) == [pb.SKIPPED_STEP_LOOK_CLOSER]
        assert rounds(served) == {"skipped": 1}


async def test_a_queue_behind_a_call_with_more_time_costs_the_further_objects_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, free = threading.Event(), threading.Event()

    def waiting_tile(frame: Frame, tile: Box, spec: DetectorSpec) -> ModelInput:
        reached.set()
        free.wait(10)
        return tile_input(frame, tile, spec)

    monkeypatch.setattr(second_round, "tile_input", waiting_tile)
    # Two seconds to reach the tile, and three for the answer when the wait ends: machines stall.
    detection = {"second_round_min_time_left_s": 3}
    async with serving(detection=detection, batching={"frames": {"slots": 1}}) as served:
        detector = served.engine.models["detector"]
        call = asyncio.create_task(events_of(served.search(closer(), timeout=5)))
        await asyncio.to_thread(reached.wait, 10)
        detector.gate.clear()
        detector.started.clear()
        patient = asyncio.create_task(events_of(served.search(asked(photo=PHOTO), timeout=30)))
        await asyncio.wait_for(detector.started.wait(), 10)
        free.set()
        events = await call
        assert kinds(events)[-1] == "done"
        assert list(events[-1].done.skipped) == [pb.SKIPPED_STEP_LOOK_CLOSER]
        assert rounds(served) == {"skipped": 1}
        detector.gate.set()
        assert kinds(await patient)[-1] == "done"


async def test_the_photo_of_another_call_waits_for_one_tile_at_most() -> None:
    engine, detector = held()
    async with serving(engine=engine) as served:
        call = served.search(closer())
        await detector.held.wait()
        other = served.search(asked(photo=PHOTO))
        await until(lambda: served.pipeline.look.frames.waiting == 1)
        detector.rest.set()
        assert kinds(await events_of(other)) == ["accepted", "detected", "results", "done"]
        assert kinds(await events_of(call))[-1] == "done"
        assert detector.batches == [1] * 7, "one tile at a time"
        assert np.array_equal(detector.parts[2], detector.parts[0])


@pytest.mark.parametrize(
    "failure",
    [
        SightlineError(ErrorKind.INTERNAL, "the secret of a photo"),
        SightlineError(ErrorKind.MODEL_ANSWER, "the secret of a photo"),
        detections(1, ((0.1, 0.1, float("nan"), 0.5), 0.5, 0)),
    ],
    ids=["error", "answer", "not finite"],
)
async def test_a_detector_that_fails_costs_the_further_objects_alone(
    failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        answers = script(FIRST, [(CUP, 0.5, 0)])
        answers[3] = failure
        events = await searched(served, answers)
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert list(events[-1].done.skipped) == [pb.SKIPPED_STEP_LOOK_CLOSER]
        assert rounds(served) == {"failed": 1}
    assert "no second round" in caplog.text
    assert "secret" not in caplog.text + str(events)


@pytest.mark.parametrize(
    "fields", [{"regions": [box(0.1, 0.1, 0.5, 0.5)]}, {"photo": b"", "crops": [PHOTO]}], ids=["regions", "crops"]
)
async def test_regions_and_crops_cannot_have_a_second_round(fields: dict[str, Any]) -> None:
    async with serving() as served:
        refusal = await failed(served.search(closer(**fields)))
        assert (refusal.events, refusal.reason) == ([], "INVALID_REQUEST")
        assert refusal.details["BadRequest"].field_violations[0].field == "look_closer"


async def test_a_call_that_is_cancelled_meanwhile_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    engine, detector = held()
    async with serving(engine=engine) as served:
        call = served.search(closer())
        await detector.held.wait()
        call.cancel()
        await served.gone()
        assert served.value("left_calls_total", stage="look_closer", moment="in") == 1
        assert sum(served.value("left_calls_total", stage=stage, moment=moment) for stage, moment in PLACES) == 1
        detector.rest.set()
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def fail(count: int) -> Answer:
    """Raises an error that nothing else holds."""
    raise SightlineError(ErrorKind.INTERNAL, "failed")


@pytest.mark.parametrize("failing", [False, True])
async def test_the_pixels_of_a_photo_end_with_its_call(failing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []

    def noted(frame: Frame, tile: Box, spec: DetectorSpec) -> ModelInput:
        made = tile_input(frame, tile, spec)
        alive.extend(map(weakref.ref, (frame.pixels, made.pixels)))
        return made

    monkeypatch.setattr(second_round, "tile_input", noted)
    gc.disable()
    try:
        async with serving() as served:
            answers = script(FIRST, [(CUP, 0.5, 0)])
            if failing:
                answers[5] = fail
            await searched(served, answers)
            await served.gone()
            served.engine.models["detector"].parts.clear()
            assert len(alive) == 10
            await until(lambda: all(each() is None for each in alive))
    finally:
        gc.enable()


async def test_two_calls_share_the_detector_and_get_their_own_objects() -> None:
    async with serving() as served:
        served.engine.models["detector"].usual = lambda parts: detections(len(parts), (CUP, 0.5, 0))
        answers = await asyncio.gather(*(events_of(served.search(closer())) for _ in range(4)))
        for events in answers:
            assert kinds(events)[:4] == ["accepted", "detected", "results", "detected"]
            ids = [each.object_id for event in events for each in event.detected.objects]
            assert ids == [f"o{number}" for number in range(1, len(ids) + 1)]
            assert len(ids) > 1
        assert np.unique([len(events) for events in answers]).size == 1
