"""Printed text: what callers get through a real channel where it is read."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from sightline.v1 import lens_service_pb2, product_pb2
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.search import printed_text
from sightline_server.stages.local_features.describing import image_features
from sightline_server.stages.printed_text.lines import readable_part
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import FakeEngine, FakeSnapshot, detections, lines_of_text, one_line, serving, until
from tests.support.pictures import encode

LIMITS = {"default_products": 3}
PATIENCE_S = 5
"""Seconds that a call takes at most whose reading is too slow."""
HURRIED: dict[str, Any] = {"enabled": True, "contribution": 0.5, "min_time_left_s": 3}
"""A reading begins within two seconds of `PATIENCE_S`, and 1.5 are left for the answer when it ends: machines stall."""
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
ON: dict[str, Any] = {"enabled": True, "contribution": 0.5}
OFF: dict[str, Any] = {"enabled": False}


def reading(text: str, *boxes: Any) -> FakeEngine:
    """An engine that sees objects in `boxes` and reads `text` on each."""
    engine = FakeEngine()
    rows = [(each, 0.875 - place / 8, 0) for place, each in enumerate(boxes or (LEFT,))]
    engine.models["detector"].usual = lambda parts: detections(len(parts), *rows)
    engine.models["text_detector"].usual = one_line
    engine.models["text_reader"].usual = partial(lines_of_text, text)
    return engine


def photo() -> bytes:
    return encode(np.full((128, 128, 3), 120, np.uint8))


@dataclass
class FakeTexts:
    """`ports.ImageFeatures` with the texts of some products' images."""

    of_product: Mapping[str, str] = field(default_factory=dict)

    def of(self, images: Sequence[tuple[str, str]]) -> list[LocalFeatures | None]:
        plain = image_features(Frame(np.zeros((32, 32, 3), np.uint8)))
        known = self.of_product
        return [replace(plain, text=known[name]) if name in known else None for name, _ in images]


def shop(**texts: str) -> FakeSnapshot:
    kept = FakeTexts(texts) if texts else None
    return FakeSnapshot(local_features=kept, gtins={}, product_count=5)


def shown(event: lens_service_pb2.SearchResponse) -> list[str]:
    return [each.product.id for each in event.results.products]


async def test_a_product_whose_name_is_printed_on_the_object_rises() -> None:
    async with serving(engine=reading("PRODUCT 2"), index=shop(), limits=LIMITS, printed_text=ON) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert shown(events[2])[0] == "p2"
        best = events[2].results.products[0]
        (reason,) = (each for each in best.reasons if each.kind == product_pb2.REASON_KIND_PRINTED_TEXT)
        assert 0.2 < reason.contribution <= 0.5
        assert "like its name or the text of its image" in reason.text
        assert best.score == pytest.approx(sum(each.contribution for each in best.reasons))
        assert best.similarity == pytest.approx(0.7)
        done = events[-1].done
        assert done.timings.printed_text_ms > 0
        assert list(done.skipped) == []
        assert served.value("text_checks_total", outcome="matched") == 1
        assert served.value("stage_seconds_count", stage="printed_text") == 1
        assert served.value("batch_size_count", batcher="text_lines") == 1


async def test_the_text_of_a_catalog_image_counts_as_the_name_does() -> None:
    index = shop(p1="Havregryn 500 g", p2="Kaffe", p3="Te")
    async with serving(engine=reading("HAVREGRYN"), index=index, limits=LIMITS, printed_text=ON) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2])[0] == "p1"


async def test_off_reads_nothing_and_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed_text, "readable_part", None)
    engine = reading("PRODUCT 2")
    async with serving(engine=engine, index=shop(p1="Te"), limits=LIMITS, printed_text=OFF) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert (events[-1].done.timings.printed_text_ms, list(events[-1].done.skipped)) == (0, [])
        assert engine.models["text_detector"].batches == engine.models["text_reader"].batches == []
        outcomes = ("matched", "unmatched", "skipped", "failed")
        assert [served.value("text_checks_total", outcome=each) for each in outcomes] == [0] * 4
        assert served.core.batchers.printed_text is None


async def test_no_model_runs_where_names_cannot_tell_the_products_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed_text, "tells_apart", lambda texts: False)
    engine = reading("PRODUCT 2")
    async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text=ON) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert list(events[-1].done.skipped) == []
        assert engine.models["text_detector"].batches == []
        assert served.value("text_checks_total", outcome="unmatched") == 1


async def test_an_object_without_text_is_not_sent_to_the_reader() -> None:
    engine = reading("PRODUCT 2")
    engine.models["text_detector"].usual = FakeEngine().models["text_detector"].usual
    async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text=ON) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert engine.models["text_reader"].batches == []


@pytest.mark.parametrize(
    ("settings", "failure", "outcome"),
    [
        ({"min_time_left_s": 1000}, None, "skipped"),
        ({}, SightlineError(ErrorKind.OVERLOADED, "full"), "skipped"),
        ({}, SightlineError(ErrorKind.INTERNAL, "PRODUCT 2"), "failed"),
        ({}, ValueError("PRODUCT 2"), "failed"),
    ],
    ids=["near deadline", "busy", "a model fails", "anything fails"],
)
async def test_without_time_or_model_the_answer_says_what_is_missing(
    settings: dict[str, Any], failure: Exception | None, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = reading("PRODUCT 2")
    if failure is not None:
        engine.models["text_reader"].replies = [failure]
    with caplog.at_level(logging.DEBUG):
        async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text={**ON, **settings}) as served:
            events = await events_of(served.search(asked(photo=photo())))
            assert kinds(events) == ["accepted", "detected", "results", "done"]
            assert shown(events[2]) == ["p0", "p1", "p2"]
            assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT]
            assert served.value("text_checks_total", outcome=outcome) == 1
    assert ("printed text not compared" in caplog.text) == (outcome == "failed")
    assert "PRODUCT 2" not in caplog.text


async def test_the_log_names_a_file_of_texts_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> list[LocalFeatures | None]:
        raise SightlineError(ErrorKind.CONFIGURATION, "local_features.sqlite is damaged; restore it")

    monkeypatch.setattr(FakeTexts, "of", refused)
    async with serving(engine=reading("PRODUCT 2"), index=shop(p1="Te"), limits=LIMITS, printed_text=ON) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT in events[-1].done.skipped
    assert "printed text not compared: local_features.sqlite is damaged; restore it" in caplog.text


@pytest.mark.parametrize("model", ["text_detector", "text_reader"])
async def test_a_call_that_is_cancelled_meanwhile_leaves_nothing(model: str) -> None:
    engine = reading("PRODUCT 2")
    async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text=ON) as served:
        running = len(asyncio.all_tasks())
        runner = engine.models[model]
        runner.gate.clear()
        call = served.search(asked(photo=photo()))
        waiting = asyncio.create_task(events_of(call))
        await asyncio.wait_for(runner.started.wait(), 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(served.gone(), 10)
        assert served.value("in_flight") == 0
        runner.gate.set()
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2])[0] == "p2"
        for batcher in ("text_images", "text_lines"):
            assert served.value("queue_items", batcher=batcher) == 0
        await until(lambda: len(asyncio.all_tasks()) <= running)


@pytest.mark.parametrize("model", ["text_detector", "text_reader"])
async def test_a_model_that_is_slower_than_the_deadline_costs_the_reasons_alone(model: str) -> None:
    engine = reading("PRODUCT 2")
    async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text=HURRIED) as served:
        engine.models[model].gate.clear()
        slow = asyncio.create_task(events_of(served.search(asked(photo=photo()), timeout=PATIENCE_S)))
        await asyncio.wait_for(engine.models[model].started.wait(), 10)
        events = await slow
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT]
        engine.models[model].gate.set()
        others = await events_of(served.search(asked(photo=photo())))
        assert (shown(others[2])[0], list(others[-1].done.skipped)) == ("p2", [])


@pytest.mark.parametrize("model", ["text_detector", "text_reader"])
async def test_a_queue_behind_callers_with_more_time_costs_the_reasons_alone(model: str) -> None:
    engine = reading("PRODUCT 2")
    one_batch = {name: {"slots": 1} for name in ("text_images", "text_lines")}
    server = serving(engine=engine, index=shop(), limits=LIMITS, printed_text=HURRIED, batching=one_batch)
    async with server as served:
        runner = engine.models[model]
        runner.gate.clear()
        patient = asyncio.create_task(events_of(served.search(asked(photo=photo()), timeout=30)))
        await asyncio.wait_for(runner.started.wait(), 10)
        events = await events_of(served.search(asked(photo=photo()), timeout=PATIENCE_S))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT]
        assert served.value("text_checks_total", outcome="skipped") == 1
        runner.gate.set()
        others = await patient
        assert (shown(others[2])[0], list(others[-1].done.skipped)) == ("p2", [])


async def test_objects_beyond_the_limit_are_answered_without() -> None:
    engine = reading("PRODUCT 2", LEFT, RIGHT)
    async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text={**ON, "most_objects": 1}) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert [shown(event)[0] for event in events[2:4]] == ["p2", "p0"]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT]


async def test_what_was_read_is_in_no_answer_log_or_metric(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(
            engine=reading("ZQPLANTEDX PRODUCT 2"), index=shop(), limits=LIMITS, printed_text=ON
        ) as served:
            events = await events_of(served.search(asked(photo=photo())))
            metrics = generate_latest(served.metrics.registry).decode()
            assert served.value("text_checks_total", outcome="matched") == 1
    assert "zqplantedx" not in (caplog.text + metrics + str(events)).lower()


async def test_the_pixels_of_a_photo_end_with_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []

    def noted(frame: Frame, box: Any) -> Frame:
        part = readable_part(frame, box)
        alive.extend(map(weakref.ref, (frame.pixels, part.pixels)))
        return part

    monkeypatch.setattr(printed_text, "readable_part", noted)
    engine = reading("PRODUCT 2")
    gc.disable()
    try:
        async with serving(engine=engine, index=shop(), limits=LIMITS, printed_text=ON) as served:
            await events_of(served.search(asked(photo=photo())))
            await served.gone()
            for model in engine.models.values():
                model.parts.clear()
            assert len(alive) == 2
            await until(lambda: all(each() is None for each in alive))
    finally:
        gc.enable()
