"""The engine with the real tritonserver: starting, running, and its reports."""

import asyncio
import hashlib
import json
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server import owned_names
from sightline_server.domain.models import DETECTOR, EMBEDDER, BatchCost, DetectorSpec, EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions
from sightline_server.triton.engine import TritonEngine
from tests.support.engine import TritonSession, embedded_engine, remote_engine
from tests.support.tiny_models import (
    DETECTOR_SIZE,
    EMBEDDER_DIMENSION,
    EMBEDDER_SIZE,
    LABELS,
    build_repository,
    expected_detections,
    expected_embeddings,
)


def crops(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """`count` random images of the tiny embedder's size."""
    return np.random.default_rng(seed).integers(0, 256, (count, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)


def frames(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """`count` random images of the tiny detector's size."""
    return np.random.default_rng(seed).integers(0, 256, (count, DETECTOR_SIZE, DETECTOR_SIZE, 3), np.uint8)


def counters(metrics_url: str, model: str) -> dict[str, float]:
    """Triton's own counters of one model."""
    with urllib.request.urlopen(metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("nv_inference_") and f'model="{model}"' in line:
            found[line.partition("{")[0]] = float(line.rpartition(" ")[2])
    return found


async def test_specs_come_from_the_live_models(tiny_engine: TritonEngine) -> None:
    detector, embedder = tiny_engine.spec(DETECTOR), tiny_engine.spec(EMBEDDER)
    assert isinstance(detector, DetectorSpec)
    assert (detector.height, detector.width, detector.max_detections) == (DETECTOR_SIZE, DETECTOR_SIZE, 8)
    assert detector.labels == LABELS
    assert detector.max_batch_size == 16
    assert isinstance(embedder, EmbedderSpec)
    assert (embedder.height, embedder.width, embedder.dimension) == (EMBEDDER_SIZE, EMBEDDER_SIZE, EMBEDDER_DIMENSION)
    # KIND_AUTO in config.pbtxt; Triton's live configuration names the device that it became.
    assert embedder.batch_cost is BatchCost.LINEAR


async def test_answers_are_those_of_the_models(tiny_engine: TritonEngine) -> None:
    pictures = frames(3)
    answer = await tiny_engine.runner(DETECTOR).infer({"IMAGES": list(pictures)}, deadline=None)
    for index, picture in enumerate(pictures):
        boxes, scores, labels = expected_detections(picture)
        np.testing.assert_allclose(answer["BOXES"][index], boxes, atol=1e-6)
        np.testing.assert_allclose(answer["SCORES"][index], scores, atol=1e-6)
        np.testing.assert_array_equal(answer["LABELS"][index], labels)
    embedded = await tiny_engine.runner(EMBEDDER).infer({"CROPS": list(crops(5))}, deadline=time.monotonic() + 10)
    np.testing.assert_allclose(embedded["EMBEDDINGS"], expected_embeddings(crops(5)), atol=1e-6)


@pytest.mark.parametrize("shared_memory", [True, False])
async def test_both_transports_give_the_same_answers(tiny_triton: TritonSession, shared_memory: bool) -> None:
    engine = remote_engine(tiny_triton.url, shared_memory=shared_memory)
    await engine.start()
    try:
        assert set(engine.transports.values()) == {"shm" if shared_memory else "inline"}
        runner = engine.runner(EMBEDDER)
        answers = await asyncio.gather(
            *(runner.infer({"CROPS": list(crops(n, n))}, deadline=None) for n in range(1, 20))
        )
    finally:
        await engine.stop()
    for number, answer in enumerate(answers, 1):
        np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(crops(number, number)), atol=1e-6)


async def test_the_crops_of_one_call_are_one_request_to_triton(
    tiny_triton: TritonSession, tiny_engine: TritonEngine
) -> None:
    before = counters(tiny_triton.metrics_url, "embedder")
    await tiny_engine.runner(EMBEDDER).infer({"CROPS": list(crops(6))}, deadline=None)
    after = counters(tiny_triton.metrics_url, "embedder")
    assert after["nv_inference_count"] - before["nv_inference_count"] == 6
    assert after["nv_inference_request_success"] - before["nv_inference_request_success"] == 1


async def test_calls_that_come_close_together_do_not_wait_in_tritons_queue(tiny_engine: TritonEngine) -> None:
    runner = tiny_engine.runner(EMBEDDER)

    async def taken_s(count: int) -> float:
        begun = time.monotonic()
        await runner.infer({"CROPS": list(crops(count))}, deadline=None)
        return time.monotonic() - begun

    rounds = [await asyncio.gather(*(taken_s(count) for count in range(1, 9))) for _ in range(40)]
    # With a queue policy a fifth of them waits for half a second.
    assert sum(each > 0.45 for together in rounds for each in together) <= 3


async def test_a_call_without_time_left_is_refused_before_it_is_sent(tiny_engine: TritonEngine) -> None:
    with pytest.raises(SightlineError) as caught:
        await tiny_engine.runner(EMBEDDER).infer({"CROPS": list(crops(1))}, deadline=time.monotonic() - 1)
    assert caught.value.kind is ErrorKind.DEADLINE_EXCEEDED


async def test_pixels_stand_under_no_name_while_the_engine_runs(tiny_repository: Path) -> None:
    engine = embedded_engine(tiny_repository)
    await engine.start()
    try:
        await engine.runner(EMBEDDER).infer({"CROPS": list(crops(4))}, deadline=None)
        assert engine.transports == {"detector": "shm", "embedder": "shm"}
        assert [path for path in regions.listed(owned_names.own_prefix()) if "session" not in path.name] == []
    finally:
        await engine.stop()


async def test_a_model_that_cannot_be_loaded_fails_the_start_with_the_log(
    tmp_path: Path, tiny_repository: Path
) -> None:
    for model in ("detector", "embedder"):
        (tmp_path / model / "1").mkdir(parents=True)
        (tmp_path / model / "config.pbtxt").write_text((tiny_repository / model / "config.pbtxt").read_text())
        (tmp_path / model / "1" / "model.onnx").write_bytes(b"not a model")
    engine = embedded_engine(tmp_path)
    with pytest.raises(SightlineError, match=r"failed to load|load failed"):
        await engine.start()
    assert not engine.ready


@pytest.mark.parametrize("model", ["detector", "embedder"])
async def test_a_model_that_differs_from_its_declaration_is_not_started(tmp_path: Path, model: str) -> None:
    path = build_repository(tmp_path) / model / "1" / "model.onnx"
    path.with_name("model.json").write_text(json.dumps({"name": "own", "version": "1", "sha256": "0" * 64}))
    engine = embedded_engine(tmp_path)
    with pytest.raises(SightlineError, match=r"expected sha256 0{64}") as caught:
        await engine.start()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    declared = {"name": "own", "version": "1", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_name("model.json").write_text(json.dumps(declared))
    try:
        await engine.start()
        assert engine.digests[model] == declared["sha256"]
    finally:
        await engine.stop()


async def test_a_repository_without_models_says_how_to_get_them(tmp_path: Path) -> None:
    engine = embedded_engine(tmp_path)
    with pytest.raises(SightlineError, match="sightline models pull") as caught:
        await engine.start()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert regions.listed(f"{owned_names.own_prefix()}e") == []
