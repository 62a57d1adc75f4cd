"""Codes in photos: what callers get through a real channel when a photo shows the code of a product."""

import asyncio
import logging
from typing import Any

import pytest
from prometheus_client import generate_latest

from load_tests.codes.rendering import CodeShot, code_photo
from sightline.v1 import lens_service_pb2, product_pb2
from sightline_server.search import codes as reading
from sightline_server.stages import photo_threads
from sightline_server.stages.uncancelled import ended
from sightline_server.telemetry.stopwatch import PLACES
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import FakeEngine, FakeSnapshot, Served, detections, serving

DIGITS = "4006381333931"
LEFT, RIGHT, PERSON = (0.0, 0.0, 0.5, 1.0), (0.625, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)
LIMITS = {"default_products": 3}
SIZE = {"width": 640, "height": 640}
ON_LEFT = code_photo(CodeShot("EAN-13", DIGITS, 2.0, 20, 0.25, 0.5), **SIZE)
BETWEEN = code_photo(CodeShot("QR", f"https://id.gs1.org/01/0{DIGITS}/21/John-Doe", 3.0, 0, 0.56, 0.3), **SIZE)


def shop(*rows: int) -> FakeSnapshot:
    """A catalog in which products of `rows` have the number of the code."""
    return FakeSnapshot(gtins={int(DIGITS): rows})


def seeing(*boxes: Any, label: int = 0) -> FakeEngine:
    """An engine whose detector finds the same boxes in every photo, best first."""
    engine = FakeEngine()
    rows = [(each, 0.875 - place / 8, label) for place, each in enumerate(boxes)]
    engine.models["detector"].usual = lambda parts: detections(len(parts), *rows)
    return engine


def shown(event: lens_service_pb2.SearchResponse) -> list[str]:
    """The ids of the products of an object."""
    return [each.product.id for each in event.results.products]


async def test_the_product_of_a_code_comes_first_on_the_object_that_the_code_is_on() -> None:
    async with serving(engine=seeing(LEFT, RIGHT), index=shop(40), limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=ON_LEFT)))
        assert kinds(events) == ["accepted", "detected", "results", "results", "done"]
        assert [shown(event) for event in events[2:4]] == [["p40", "p0", "p1"], ["p0", "p1", "p2"]]
        first, second = events[2].results.products[:2]
        assert (first.rank, first.level) == (1, product_pb2.MATCH_LEVEL_SAME_ITEM)
        assert next(reason.kind for reason in first.reasons) == product_pb2.REASON_KIND_CODE
        assert "code in the photo" in first.reasons[0].text
        assert first.score == pytest.approx(sum(reason.contribution for reason in first.reasons))
        assert first.score > second.score
        assert first.similarity == pytest.approx(0.2)
        assert all(reason.kind != product_pb2.REASON_KIND_CODE for reason in second.reasons)
        assert events[-1].done.timings.codes_ms > 0
        counted = [served.value("codes_total", outcome=each) for each in ("found", "matched", "skipped", "failed")]
        assert counted == [1, 1, 0, 0]
        assert served.value("stage_seconds_count", stage="codes") == 1


async def test_a_code_outside_of_all_objects_is_an_object_with_its_product_alone() -> None:
    async with serving(engine=seeing(LEFT), index=shop(41, 40)) as served:
        events = await events_of(served.search(asked(photo=BETWEEN, max_products=1, min_similarity=0.5)))
        assert kinds(events) == ["accepted", "detected", "results", "results", "done"]
        own, other = events[1].detected.objects
        assert (own.object_id, own.source, own.label) == ("o1", lens_service_pb2.OBJECT_SOURCE_CODE, "")
        assert own.box.x_min < 0.56 < own.box.x_max
        assert (other.object_id, other.source) == ("o2", lens_service_pb2.OBJECT_SOURCE_DETECTOR)
        assert [shown(event) for event in events[2:4]] == [["p40"], ["p0"]]
        assert [each.kind for each in events[2].results.products[0].reasons] == [product_pb2.REASON_KIND_CODE]
        assert served.engine.models["embedder"].batches == [1], "a code alone is not embedded"
        assert served.value("objects_total", outcome="searched") == 2


async def test_a_code_fits_into_the_limit_on_objects_and_into_regions() -> None:
    async with serving(engine=seeing(LEFT, RIGHT), index=shop(40), limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=BETWEEN, max_objects=1)))
        assert [each.source for each in events[1].detected.objects] == [lens_service_pb2.OBJECT_SOURCE_CODE]
        events = await events_of(served.search(asked(photo=BETWEEN, regions=[box(0.5, 0.0, 0.7, 0.6), box(*LEFT)])))
        assert [each.source for each in events[1].detected.objects] == [lens_service_pb2.OBJECT_SOURCE_BOX] * 2
        assert [shown(event)[0] for event in events[2:4]] == ["p40", "p0"]


async def test_a_photo_without_objects_is_one_and_its_code_is_on_it() -> None:
    async with serving(engine=seeing(), index=shop(40), limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=BETWEEN)))
        assert [each.source for each in events[1].detected.objects] == [lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO]
        assert shown(events[2]) == ["p40", "p0", "p1"]


async def test_a_product_in_the_hands_of_a_person_is_found_by_its_code_and_no_pixel_is_embedded() -> None:
    async with serving(engine=seeing(PERSON, label=2), index=shop(40)) as served:
        events = await events_of(served.search(asked(photo=BETWEEN)))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert shown(events[2]) == ["p40"]
        assert events[3].done.notice == lens_service_pb2.NOTICE_UNSPECIFIED
        assert served.engine.models["embedder"].batches == served.index.queries == []


async def test_a_number_that_the_catalog_does_not_hold_changes_nothing() -> None:
    async with serving(engine=seeing(LEFT), index=FakeSnapshot(gtins={1: (40,)}), limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=ON_LEFT)))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert [served.value("codes_total", outcome=each) for each in ("found", "matched")] == [1, 0]


@pytest.mark.parametrize(
    ("index", "settings"),
    [(shop(40), {"enabled": False}), (FakeSnapshot(gtins={}), {})],
    ids=["switched off", "no product has a number"],
)
async def test_codes_that_cannot_matter_are_not_read(index: FakeSnapshot, settings: dict[str, Any]) -> None:
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, codes=settings) as served:
        events = await events_of(served.search(asked(photo=ON_LEFT)))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert (events[-1].done.timings.codes_ms, list(events[-1].done.skipped)) == (0, [])
        assert served.value("stage_seconds_count", stage="codes") == 0


async def test_with_a_near_deadline_codes_are_skipped_and_the_answer_says_so() -> None:
    async with serving(engine=seeing(LEFT), index=shop(40), limits=LIMITS, codes={"min_time_left_s": 1000}) as served:
        events = await events_of(served.search(asked(photo=ON_LEFT)))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_CODES]
        assert served.value("codes_total", outcome="skipped") == 1


async def test_a_reader_that_fails_costs_the_codes_and_says_nothing_of_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> None:
        raise ValueError(f"cannot read {DIGITS}")

    monkeypatch.setattr(reading, "read_codes", failing)
    with caplog.at_level(logging.DEBUG):
        async with serving(engine=seeing(LEFT), index=shop(40), limits=LIMITS) as served:
            events = await events_of(served.search(asked(photo=ON_LEFT)))
            assert kinds(events) == ["accepted", "detected", "results", "done"]
            assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_CODES]
            assert served.value("codes_total", outcome="failed") == 1
            assert told(served, caplog, events) == []
    assert "codes not read: ValueError" in caplog.text


def told(served: Served, caplog: pytest.LogCaptureFixture, events: list[Any]) -> list[str]:
    """The outputs that contain the number of the code, or the personal part of its text."""
    places = {
        "log": caplog.text + "".join(str(record.__dict__) for record in caplog.records),
        "metrics": generate_latest(served.metrics.registry).decode(),
        "answer": "".join(str(event) for event in events),
    }
    return [name for name, text in places.items() if DIGITS in text or DIGITS[:-1] in text or "John-Doe" in text]


@pytest.mark.parametrize("failing", [False, True])
async def test_the_content_of_a_code_is_in_no_log_metric_answer_or_error(
    failing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    engine = seeing(LEFT)
    if failing:
        engine.models["embedder"].usual = lambda parts: {"EMBEDDINGS": parts[0]}
    with caplog.at_level(logging.DEBUG):
        async with serving(engine=engine, index=shop(40)) as served:
            events = [
                event for photo in (ON_LEFT, BETWEEN) for event in await events_of(served.search(asked(photo=photo)))
            ]
            assert served.value("codes_total", outcome="matched") == 2
            assert told(served, caplog, events) == []


async def test_a_call_that_is_cancelled_while_codes_are_read_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, began, goes_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(*_: object) -> tuple[()]:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result(60)
        return ()

    async def left(running: asyncio.Future[Any]) -> None:
        goes_on.set()
        await ended(running)

    monkeypatch.setattr(reading, "read_codes", slow)
    # The thread runs until the server knows that the call was cancelled; if it ended earlier, the call would go on.
    monkeypatch.setattr(photo_threads, "ended", left)
    async with serving(engine=seeing(LEFT), index=shop(40)) as served:
        call = served.search(asked(photo=ON_LEFT))
        await began.wait()
        call.cancel()
        await served.gone()
        assert sum(served.value("left_calls_total", stage=stage, moment=moment) for stage, moment in PLACES) == 1
