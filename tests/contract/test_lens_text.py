"""Searches with a text through a real channel: what is searched then, what it costs, and what is refused."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import generate_latest

from sightline.v1 import lens_service_pb2 as pb
from sightline_client import AsyncClient, FailedPreconditionError, InvalidRequestError
from sightline_models.tokenizer import FILE, NoTokensError
from sightline_server.domain.models import TextEncoderSpec
from sightline_server.domain.request import TextQuery
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.embeddings import VECTORS, embedded, search_embeddings
from tests.support.lens import FakeEngine, FakeSnapshot, Served, failed, serving, until
from tests.support.texts import LENGTH, VOCABULARY, prepared, write_tokenizer

CODE = grpc.StatusCode
BLUE = "blue"
"""Its first id is 4, so the fake text encoder puts it on the first of four axes."""
AXIS = VOCABULARY[BLUE] % 4
MARK = "aspidistra"
"""A word of a person that must not be found anywhere."""


class Near(FakeSnapshot):
    """A snapshot that keeps the vectors that it was asked for."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.asked: list[NDArray[np.float32]] = []

    async def nearest(self, queries: Any, k: int, by_group: Any = None) -> Any:
        self.asked += list(np.array(queries))
        return await super().nearest(queries, k, by_group)


@asynccontextmanager
async def texts(folder: Path, engine: FakeEngine | None = None, **parts: Any) -> AsyncIterator[Served]:
    """A server whose embedder has a text encoder, which is `served.engine.models["text_encoder"]`."""
    engine = engine or FakeEngine()
    digest = hashlib.sha256(write_tokenizer(folder / "text_encoder").read_bytes()).hexdigest()
    engine.add_text_encoder(
        TextEncoderSpec("tiny-text", "1", LENGTH, 4, "tiny-embedder", "e" * 64, digest, sha256="f" * 64)
    )
    async with serving(engine=engine, index=Near(), repository=folder, **parts) as served:
        yield served


def joined(image: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """normalize((1 - weight) * image + weight * text) for the text of `BLUE`."""
    total = (1 - weight) * image.astype(np.float64) + weight * np.eye(4)[AXIS]
    found: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
    return found


async def test_a_text_joins_each_object(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        plain = await events_of(served.search(asked()))
        images = list(served.index.asked)
        assert len(images) == 2
        for weight in (0.25, 1.0):
            served.index.asked.clear()
            events = await events_of(served.search(asked(text=BLUE, text_weight=weight)))
            assert kinds(events) == kinds(plain) == ["accepted", "detected", "results", "results", "done"]
            assert events[-1].done.text_weight == weight
            assert events[-1].done.timings.text_ms > 0
            expected = [joined(each, weight) for each in images]
            np.testing.assert_allclose(served.index.asked, expected, rtol=0, atol=1e-6)
        assert served.engine.models["text_encoder"].batches == [1, 1], "once a call, whatever its objects"
        (ids, _) = served.engine.models["text_encoder"].parts
        assert list(ids) == [4, 2, *[0] * (LENGTH - 2)]


async def test_a_text_without_a_weight_has_the_usual_one(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        done = (await events_of(served.search(asked(text=BLUE))))[-1].done
    assert done.text_weight == pytest.approx(0.3)


async def test_a_text_of_weight_zero_changes_nothing(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        await events_of(served.search(asked()))
        await events_of(served.search(asked(text=BLUE, text_weight=0)))
        plain, weightless = served.index.asked[:2], served.index.asked[2:]
    np.testing.assert_allclose(weightless, plain, rtol=0, atol=1e-6)


async def test_a_search_without_a_text_runs_no_text_encoder(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        done = (await events_of(served.search(asked())))[-1].done
        assert served.engine.models["text_encoder"].batches == []
        assert (done.text_weight, done.timings.text_ms) == (0, 0)
        assert served.value("stage_seconds_count", stage="text") == 0


async def test_crops_and_embeddings_are_joined_too(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        await events_of(served.search(pb.SearchRequest(crops=[PHOTO, PHOTO])))
        await events_of(search_embeddings(served, embedded()))
        plain = list(served.index.asked)
        served.index.asked.clear()
        of_crops = await events_of(served.search(pb.SearchRequest(crops=[PHOTO, PHOTO], text=BLUE, text_weight=0.5)))
        of_vectors = await events_of(search_embeddings(served, embedded(text=BLUE, text_weight=0.5)))
        assert [events[-1].done.text_weight for events in (of_crops, of_vectors)] == [0.5, 0.5]
        assert served.engine.models["text_encoder"].batches == [1, 1]
        np.testing.assert_allclose(served.index.asked, [joined(each, 0.5) for each in plain], rtol=0, atol=1e-6)
        assert len(plain) == 2 + len(VECTORS)


async def test_the_text_is_encoded_while_the_photo_is_looked_at(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        detector, encoder = served.engine.models["detector"], served.engine.models["text_encoder"]
        detector.gate.clear()
        call = served.search(asked(text=BLUE))
        reading = asyncio.create_task(events_of(call))
        await asyncio.wait_for(encoder.started.wait(), 10)
        assert not reading.done()
        detector.gate.set()
        assert kinds(await reading)[-1] == "done"


async def test_texts_of_several_calls_share_a_batch(tmp_path: Path) -> None:
    async with texts(tmp_path, batching={"frames": {"slots": 8}, "crops": {"slots": 1}}) as served:
        encoder = served.engine.models["text_encoder"]
        encoder.gate.clear()
        calls = [asyncio.create_task(events_of(served.search(asked(text=BLUE)))) for _ in range(4)]
        await asyncio.wait_for(encoder.started.wait(), 10)
        await until(lambda: served.value("in_flight") == 4)
        encoder.gate.set()
        assert [kinds(await each)[-1] for each in calls] == ["done"] * 4
        assert sum(encoder.batches) == 4


async def test_a_text_encoder_that_is_away_ends_the_call(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        away = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine is away", retry_after_s=1.0)
        served.engine.models["text_encoder"].replies = [away]
        refusal = await failed(served.search(asked(text=BLUE)))
        assert (refusal.code, refusal.reason) == (CODE.UNAVAILABLE, "ENGINE_UNAVAILABLE")
        assert kinds(await events_of(served.search(asked(text=BLUE))))[-1] == "done"


@pytest.mark.parametrize("answer", [np.full((1, 4), np.nan, np.float32), np.ones((1, 5), np.float32)])
async def test_an_answer_that_cannot_be_used_fails_the_objects(tmp_path: Path, answer: NDArray[np.float32]) -> None:
    async with texts(tmp_path) as served:
        served.engine.models["text_encoder"].replies = [{"EMBEDDINGS": answer}]
        events = await events_of(served.search(asked(text=BLUE)))
        assert kinds(events) == ["accepted", "detected", "failure", "failure", "done"]
        assert {events[2].failure.reason, events[3].failure.reason} == {pb.FAILURE_REASON_MODEL_ANSWER}


async def test_an_image_opposite_to_its_text_fails_alone(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        opposite = (-np.eye(4, dtype="<f4")[AXIS]).tobytes()
        request = embedded(vectors=[opposite, VECTORS[0]], text=BLUE, text_weight=0.5)
        events = await events_of(search_embeddings(served, request))
        assert kinds(events) == ["accepted", "detected", "failure", "results", "done"]


async def test_a_call_that_is_cancelled_leaves_no_text_behind(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        encoder = served.engine.models["text_encoder"]
        encoder.gate.clear()
        call = served.search(asked(text=BLUE))
        await call.read()
        await asyncio.wait_for(encoder.started.wait(), 10)
        call.cancel()
        await asyncio.wait_for(served.gone(), 10)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "text"]
        encoder.gate.set()


async def test_the_deadline_of_the_call_bounds_the_text(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        encoder = served.engine.models["text_encoder"]
        encoder.gate.clear()
        refusal = await failed(served.search(asked(text=BLUE), timeout=2.0))
        assert refusal.code is CODE.DEADLINE_EXCEEDED
        assert encoder.deadlines[0] is not None
        encoder.gate.set()


BAD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "empty": ({"text": ""}, "text"),
    "blanks": ({"text": " \t\n"}, "text"),
    "too many bytes": ({"text": f"{MARK} " * 200}, "text"),
    "too many tokens": ({"text": f"{MARK} " * LENGTH}, "text"),
    "weight above one": ({"text": MARK, "text_weight": 1.5}, "text_weight"),
    "weight below zero": ({"text": MARK, "text_weight": -0.1}, "text_weight"),
    "weight that is not a number": ({"text": MARK, "text_weight": float("nan")}, "text_weight"),
    "weight without a text": ({"text_weight": 0.5}, "text_weight"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_text_is_refused_by_its_field_and_not_repeated(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields, field = BAD[name]
    with caplog.at_level(logging.DEBUG):
        async with texts(tmp_path) as served:
            for call in (served.search(asked(**fields)), search_embeddings(served, embedded(**fields))):
                refusal = await failed(call)
                found = (refusal.events, refusal.code, refusal.reason)
                assert found == ([], CODE.INVALID_ARGUMENT, "INVALID_REQUEST")
                assert refusal.details["BadRequest"].field_violations[0].field == field
                assert MARK not in str(refusal)
            assert served.engine.models["text_encoder"].batches == []
            assert MARK not in generate_latest(served.metrics.registry).decode()
    assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)


@pytest.mark.parametrize("error", [NoTokensError("no tokens"), RuntimeError(MARK)])
async def test_a_text_at_which_the_tokenizer_fails_is_not_repeated(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def encode(self, text: str) -> None:
            raise error

    async with texts(tmp_path) as served:
        with caplog.at_level(logging.DEBUG), monkeypatch.context() as patch:
            for encoder in served.core.pipeline.text_encoders.values():
                patch.setattr(encoder.tokenizer, "_inner", Broken())
            refusal = await failed(served.search(asked(text=MARK)))
        assert (refusal.events, refusal.code, refusal.reason) == ([], CODE.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert refusal.details["BadRequest"].field_violations[0].field == "text"
        assert MARK not in str(refusal)
        assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)
        assert kinds(await events_of(served.search(asked(text=BLUE))))[-1] == "done"


async def test_a_text_without_a_photo_is_refused(tmp_path: Path) -> None:
    async with texts(tmp_path) as served:
        for look_closer in (False, True):
            refusal = await failed(served.search(pb.SearchRequest(text=MARK, look_closer=look_closer)))
            assert (refusal.events, refusal.code) == ([], CODE.INVALID_ARGUMENT)
            assert MARK not in str(refusal)
        assert served.value("in_flight") == 0
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "text"]


@pytest.mark.parametrize(
    "text", ["\x00", "\u202e" * 170, "e" + "\u0301" * 255, "\U0001f469\u200d" * 70, "\ufdfa" * 170]
)
async def test_a_hostile_text_is_answered_or_refused_like_any_other(tmp_path: Path, text: str) -> None:
    async with texts(tmp_path) as served:
        assert len(text.encode()) <= 512
        refused = ""
        try:
            assert kinds(await asyncio.wait_for(events_of(served.search(asked(text=text))), 10))[-1] == "done"
        except grpc.aio.AioRpcError as error:
            refused = f"{error.code().name} {error.details()}"
        assert not refused or refused.startswith("INVALID_ARGUMENT text: ")
        assert kinds(await events_of(served.search(asked(text=BLUE))))[-1] == "done"


async def test_a_text_that_is_searched_is_in_no_log_and_no_metric(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with texts(tmp_path) as served:
            assert kinds(await events_of(served.search(asked(text=MARK))))[-1] == "done"
            served.engine.models["text_encoder"].replies = [RuntimeError("broken")]
            await events_of(served.search(asked(text=MARK)))
            assert MARK not in generate_latest(served.metrics.registry).decode()
    assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)


async def test_an_embedder_without_a_text_encoder_takes_no_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving() as served:
            for call in (served.search(asked(text=MARK)), search_embeddings(served, embedded(text=MARK))):
                refusal = await failed(call)
                assert (refusal.events, refusal.code) == ([], CODE.FAILED_PRECONDITION)
                assert refusal.reason == "TEXT_NOT_SUPPORTED" and MARK not in str(refusal)
    assert MARK not in "\n".join(str(vars(each)) for each in caplog.records)


async def test_a_server_says_where_texts_work(tmp_path: Path) -> None:
    async with texts(tmp_path) as served, AsyncClient(served.address) as client:
        info = await client.server_info()
        catalog = info.catalog()
        assert catalog is not None and catalog.text_encoder is not None
        assert (catalog.text_encoder.id, catalog.text_encoder.max_tokens) == ("tiny-text@ffffffffffff", LENGTH)
        assert catalog.text_encoder.default_weight == pytest.approx(0.3)
        assert info.limits.max_text_bytes == 512
    async with serving() as served, AsyncClient(served.address) as client:
        catalog = (await client.server_info()).catalog()
        assert catalog is not None and catalog.text_encoder is None


async def test_the_client_sends_a_text(tmp_path: Path) -> None:
    async with texts(tmp_path) as served, AsyncClient(served.address) as client:
        answer = await client.find(PHOTO, text=BLUE, text_weight=0.5)
        assert answer.done is not None and answer.done.text_weight == 0.5
        assert answer.done.timings.text_ms > 0 and "text" in answer.done.timings.stages
        assert (await client.find_crops([PHOTO], text=BLUE)).done is not None
        for wrong in (
            {"text": ""},
            {"text": 3},
            {"text": "\ud800"},
            {"text_weight": 0.5},
            {"text": "a", "text_weight": 2},
        ):
            with pytest.raises(InvalidRequestError) as caught:
                await client.find(PHOTO, **wrong)
            assert caught.value.code == "" and caught.value.violations[0].field in ("text", "text_weight")
    async with serving() as served, AsyncClient(served.address) as client:
        with pytest.raises(FailedPreconditionError) as refused:
            await client.find(PHOTO, text=BLUE)
        assert refused.value.reason == "TEXT_NOT_SUPPORTED"


async def test_a_tokenizer_that_the_text_encoder_does_not_state_ends_the_start(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.add_text_encoder(TextEncoderSpec("t", "1", LENGTH, 4, "tiny-embedder", "e" * 64, "0" * 64))
    with pytest.raises(SightlineError, match="missing; it is the tokenizer of the text encoder next to it"):
        async with serving(engine=engine, repository=tmp_path):
            pass
    path = write_tokenizer(tmp_path / "text_encoder")
    with pytest.raises(SightlineError, match="put the tokenizer of that text encoder there"):
        async with serving(engine=engine, repository=tmp_path):
            pass
    path.with_name(FILE).write_bytes(prepared(length=5).serialize())
    with pytest.raises(SightlineError, match="does not fill up and cut texts to the 8 tokens"):
        async with serving(engine=engine, repository=tmp_path):
            pass


def test_a_text_query_shows_no_tokens() -> None:
    assert "123" not in repr(TextQuery(np.array([123]), 0.5, "e"))
