"""One search through a real channel: the events in their order, what fails alone and what ends the call."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import geometry_pb2, lens_service_pb2
from sightline_server.domain.search_defaults import SearchDefaults
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import FakeEngine, details_of, detections, failed, serving, two_objects, until


async def test_the_events_come_in_their_order_and_say_what_was_found() -> None:
    async with serving() as served:
        call = served.search(asked())
        events = await events_of(call)
        assert await call.code() is grpc.StatusCode.OK
        assert kinds(events) == ["accepted", "detected", "results", "results", "done"]
        objects = events[1].detected.objects
        assert [(each.object_id, each.label, each.score) for each in objects] == [
            ("o1", "chair", 0.75),
            ("o2", "vase", 0.5),
        ]
        assert (objects[0].box.x_min, objects[0].box.y_max) == (0.125, 0.75)
        assert [event.results.object_id for event in events[2:4]] == ["o1", "o2"]
        assert [each.product.id for each in events[2].results.products] == ["p0", "p1", "p2", "p3", "p4"]
        assert [each.rank for each in events[2].results.products] == [1, 2, 3, 4, 5]
        done = events[4].done
        assert (done.catalog_revision, done.detector, done.embedder) == (
            "rev-1",
            f"tiny-detector@{'d' * 12}",
            f"tiny-embedder@{'e' * 12}",
        )
        assert done.request_id == events[0].accepted.request_id != ""
        assert done.timings.total_ms >= done.timings.decode_ms > 0
        assert served.value("requests_total", method="Search", code="OK") == 1
        assert served.value("first_result_seconds_count") == 1
        assert served.value("objects_total", outcome="searched") == 2
        assert served.value("in_flight") == 0
        # One call to each model: the objects of a photo share a batch.
        assert [served.engine.models[model].batches for model in ("detector", "embedder")] == [[1], [2]]
        assert served.index.queries == [2]


async def test_detected_is_sent_before_anything_is_looked_up() -> None:
    async with serving() as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        call = served.search(asked())
        assert [(await call.read()).WhichOneof("event") for _ in range(2)] == ["accepted", "detected"]
        embedder.gate.set()
        assert kinds(await events_of(call)) == ["results", "results", "done"]


async def test_nothing_detected_means_the_whole_photo() -> None:
    async with serving() as served:
        served.engine.models["detector"].replies = [lambda batch: detections(batch)]
        events = await events_of(served.search(asked()))
        (only,) = events[1].detected.objects
        assert only.source == lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO
        assert kinds(events) == ["accepted", "detected", "results", "done"]


@pytest.mark.parametrize("regions", [[], [box(0, 0, 1, 1)]], ids=["nothing detected", "a box of all"])
async def test_of_a_whole_photo_the_middle_is_embedded_where_that_is_set(regions: list[geometry_pb2.Region]) -> None:
    async def embedded(share: float, *wanted: geometry_pb2.Region) -> NDArray[np.uint8]:
        async with serving(detection={"whole_photo_share": share}) as served:
            served.engine.models["detector"].replies = [lambda batch: detections(batch)]
            events = await events_of(served.search(asked(regions=wanted)))
            [found] = events[1].detected.objects
            assert (found.box.x_max - found.box.x_min == 1.0) is (list(wanted) == regions)
            return served.engine.models["embedder"].parts[-1]

    middle = await embedded(0.5, *regions)
    np.testing.assert_array_equal(middle, await embedded(1.0, box(0.25, 0.25, 0.75, 0.75)))
    np.testing.assert_array_equal(middle, await embedded(0.5, box(0.25, 0.25, 0.75, 0.75)))
    assert np.ptp(await embedded(1.0, *regions)) > np.ptp(middle) + 50


@pytest.mark.parametrize(("stated", "expected"), [(None, 0.5), (0.75, 0.75)])
async def test_without_the_setting_the_middle_is_that_of_the_embedders_configuration(
    stated: float | None, expected: float
) -> None:
    async def embedded(share: float | None, engine: FakeEngine) -> NDArray[np.uint8]:
        async with serving(engine=engine, detection={"whole_photo_share": share}) as served:
            await events_of(served.search(asked(regions=[box(0, 0, 1, 1)])))
            return engine.models["embedder"].parts[-1]

    engine = FakeEngine()
    engine.embedder = replace(engine.embedder, search=SearchDefaults(whole_photo_share=0.5))
    np.testing.assert_array_equal(await embedded(stated, engine), await embedded(expected, FakeEngine()))


async def test_boxes_go_through_the_detector_too_because_of_people() -> None:
    async with serving() as served:
        events = await events_of(served.search(asked(regions=[box(0.1, 0.1, 0.9, 0.9)])))
        assert [each.source for each in events[1].detected.objects] == [lens_service_pb2.OBJECT_SOURCE_BOX]
        assert served.engine.models["detector"].batches == [1]
        tap = geometry_pb2.Region(tap=geometry_pb2.Point(x=0.3, y=0.5))
        events = await events_of(served.search(asked(regions=[tap])))
        assert [each.label for each in events[1].detected.objects] == ["chair"]
        assert served.engine.models["detector"].batches == [1, 1]


async def test_numbers_asked_for_are_kept() -> None:
    async with serving() as served:
        events = await events_of(served.search(asked(max_objects=1, max_products=2, min_similarity=0.85)))
        assert len(events[1].detected.objects) == 1
        assert [each.product.id for each in events[2].results.products] == ["p0"]
        events = await events_of(served.search(asked(max_products=2)))
        assert [len(event.results.products) for event in events[2:4]] == [2, 2]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"EMBEDDINGS": np.full((2, 4), np.nan, np.float32)}, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        ({"EMBEDDINGS": np.full((2, 4), np.inf, np.float32)}, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        ({"EMBEDDINGS": np.ones((1, 4), np.float32)}, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        ({"EMBEDDINGS": np.ones((3, 4), np.float32)}, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        ({"EMBEDDINGS": np.ones((2, 5), np.float32)}, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        ({}, lens_service_pb2.FAILURE_REASON_INTERNAL),
        (RuntimeError("secret words"), lens_service_pb2.FAILURE_REASON_INTERNAL),
        (SightlineError(ErrorKind.INTERNAL, "the model could not run"), lens_service_pb2.FAILURE_REASON_INTERNAL),
    ],
    ids=["nan", "inf", "too few", "too many", "too long", "nothing", "raises", "refused"],
)
async def test_a_bad_answer_of_the_embedder_fails_its_objects_and_the_loop_goes_on(reply: Any, reason: int) -> None:
    async with serving() as served:
        served.engine.models["embedder"].replies = [reply]
        events = await events_of(served.search(asked()))
        assert kinds(events) == ["accepted", "detected", "failure", "failure", "done"]
        assert [(event.failure.object_id, event.failure.reason) for event in events[2:4]] == [
            ("o1", reason),
            ("o2", reason),
        ]
        assert all(event.failure.message and "secret" not in event.failure.message for event in events[2:4])
        assert kinds(await events_of(served.search(asked())))[2:] == ["results", "results", "done"]


async def test_an_embedding_that_is_not_finite_fails_its_own_object_only() -> None:
    async with serving() as served:
        served.engine.models["embedder"].replies = [
            {"EMBEDDINGS": np.array([[np.inf, 0, 0, 0], [1, 0, 0, 0]], np.float32)}
        ]
        events = await events_of(served.search(asked()))
        assert kinds(events) == ["accepted", "detected", "failure", "results", "done"]
        assert [events[2].failure.object_id, events[3].results.object_id] == ["o1", "o2"]
        assert served.value("objects_total", outcome="model_answer") == 1


async def test_each_member_of_a_bad_batch_hears_of_it() -> None:
    async with serving() as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        first = asyncio.create_task(events_of(served.search(asked())))
        await embedder.started.wait()
        others = [asyncio.create_task(events_of(served.search(asked()))) for _ in range(2)]
        await until(lambda: served.crops.waiting == 4)
        embedder.replies = [
            {"EMBEDDINGS": np.eye(2, 4, dtype=np.float32)},
            {"EMBEDDINGS": np.full((4, 4), np.nan, np.float32)},
        ]
        embedder.gate.set()
        assert kinds(await first)[2:] == ["results", "results", "done"]
        for other in others:
            assert kinds(await other)[2:] == ["failure", "failure", "done"]


@pytest.mark.parametrize(
    "reply",
    [
        {**two_objects(1), "BOXES": np.full((1, 2, 4), np.nan, np.float32)},
        two_objects(2),
        {"BOXES": np.zeros((1, 2, 4), np.float32)},
        RuntimeError("secret words"),
        SightlineError(ErrorKind.INTERNAL, "the model engine could not run the model"),
    ],
    ids=["nan", "wrong length", "nothing", "raises", "refused"],
)
async def test_a_bad_answer_of_the_detector_is_internal_and_the_loop_goes_on(reply: Any) -> None:
    async with serving() as served:
        served.engine.models["detector"].replies = [reply]
        error = await failed(served.search(asked()))
        assert (error.events, error.code) == (["accepted"], grpc.StatusCode.INTERNAL)
        assert set(error.details) == {"ErrorInfo"}
        assert "secret" not in error.message
        assert kinds(await events_of(served.search(asked())))[-1] == "done"


@pytest.mark.parametrize(("model", "before"), [("detector", ["accepted"]), ("embedder", ["accepted", "detected"])])
async def test_an_engine_that_goes_ends_the_stream_with_unavailable(model: str, before: list[str]) -> None:
    async with serving() as served:
        gone = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine is not available", retry_after_s=2.5)
        served.engine.models[model].replies = [gone]
        error = await failed(served.search(asked()))
        assert (error.events, error.code) == (before, grpc.StatusCode.UNAVAILABLE)
        assert error.reason == "ENGINE_UNAVAILABLE"
        assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == 2.5


async def test_an_index_that_goes_ends_the_stream_with_unavailable() -> None:
    async with serving() as served:
        served.index.failure = SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the catalog cannot be searched now")
        error = await failed(served.search(asked()))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")
        assert {"ErrorInfo", "RetryInfo"} == set(error.details)


async def test_an_unknown_exception_is_internal_and_keeps_its_words_to_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr("sightline_server.search.look.choose", fall_over)
    async with serving() as served:
        error = await failed(served.search(asked()))
    assert (error.code, error.message) == (grpc.StatusCode.INTERNAL, "internal error")
    request_id = error.details["ErrorInfo"].metadata["request_id"]
    assert "secret" not in str(error.details)
    told = [record for record in caplog.records if record.exc_info and "secret" in str(record.exc_info[1])]
    assert [getattr(record, "request_id", None) for record in told] == [request_id]


async def test_the_deadline_of_the_caller_ends_the_work() -> None:
    async with serving() as served:
        served.engine.models["detector"].gate.clear()
        error = await failed(served.search(asked(), timeout=2.0))
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await served.gone()
        # The caller's clock may be the first to run out, and then the server is notified of a cancellation.
        codes = ("DEADLINE_EXCEEDED", "CANCELLED")
        await until(lambda: sum(served.value("requests_total", method="Search", code=code) for code in codes) == 1)
        assert served.value("in_flight") == 0


async def test_a_caller_without_a_deadline_gets_the_servers() -> None:
    async with serving(limits={"default_deadline_s": 1.0}) as served:
        served.engine.models["embedder"].gate.clear()
        begun = time.monotonic()
        error = await failed(served.search(asked()))
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert error.events == ["accepted", "detected"]
        assert 0.9 < time.monotonic() - begun < 9


async def test_a_deadline_far_away_is_capped_and_reaches_the_engine() -> None:
    async with serving(limits={"max_deadline_s": 7.0}) as served:
        begun = time.monotonic()
        await events_of(served.search(asked(), timeout=3600))
        for model in ("detector", "embedder"):
            (deadline,) = served.engine.models[model].deadlines
            assert deadline is not None and begun < deadline <= begun + 8


async def test_an_error_names_the_request_that_the_log_names(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving() as served:
            error = await failed(served.search(asked(photo=b"not an image")))
            await served.gone()
    request_id = error.details["ErrorInfo"].metadata["request_id"]
    lines = [record for record in caplog.records if getattr(record, "request_id", "") == request_id]
    assert [getattr(record, "code", "") for record in lines] == ["INVALID_ARGUMENT"]


def test_details_of_an_error_without_any() -> None:
    bare = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert details_of(bare) == {}
