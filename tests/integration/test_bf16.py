"""bf16 on a CPU that has it: the gate with real models, and the real engine with answers in bf16.

Skipped where the CPU has no bf16, or the engine in SIGHTLINE_HOME no OpenVINO (`sightline engine install --bf16`).
"""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sightline_models.sources import sha256_of
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.embedded.install import install
from sightline_server.embedded.installation import Installation
from sightline_server.embedded.precision import Precision, cpu_has_bf16, obstacle
from sightline_server.embedded.precision_choice import choose
from sightline_server.embedded.precision_gate import compare
from sightline_server.embedded.precision_store import read_findings
from tests.support.embedded import running_engine
from tests.support.engine import CHECKOUT, sightline_home
from tests.support.tiny_models import (
    EMBEDDER_DIMENSION,
    EMBEDDER_SIZE,
    build_repository,
    expected_detections,
    expected_embeddings,
    make_model,
    write_model,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
MODELS = ("detector", "embedder")
ROUGH = 0.02
"""A number of bf16 has 8 bits: it is right to 0.4 %, and sums of such numbers to a little more."""


@pytest.fixture(scope="module")
def installation() -> Installation:
    """An engine that runs models in bf16 on this CPU."""
    found = install(sightline_home(), progress=lambda text: None)
    if reason := obstacle(Precision.AUTO, found, cpu_fits=cpu_has_bf16()):
        pytest.skip(f"models run in float32: {reason}")
    return found


def cancelling_embedder() -> onnx.ModelProto:
    """CROPS -> EMBEDDINGS that bf16 destroys: differences of neighbouring patches after a large number was added."""
    patches = EMBEDDER_DIMENSION
    difference = np.eye(patches, dtype=np.float32) - np.roll(np.eye(patches, dtype=np.float32), 1, axis=1)
    nodes = [
        helper.make_node("Cast", ["CROPS"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "patch_shape"], ["patches"]),
        helper.make_node("ReduceMean", ["patches"], ["means"], axes=[2], keepdims=0),
        helper.make_node("Add", ["means", "large"], ["high"]),
        helper.make_node("MatMul", ["high", "difference"], ["edges"]),
        helper.make_node("Add", ["edges", "little"], ["some"]),
        helper.make_node("LpNormalization", ["some"], ["EMBEDDINGS"], axis=1, p=2),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "patch_shape": np.array([-1, patches, EMBEDDER_SIZE * EMBEDDER_SIZE * 3 // patches], np.int64),
        "large": np.array(1e5, np.float32),
        "difference": difference,
        "little": np.linspace(1e-3, 2e-3, patches, dtype=np.float32),
    }
    crops = helper.make_tensor_value_info("CROPS", TensorProto.UINT8, ["B", EMBEDDER_SIZE, EMBEDDER_SIZE, 3])
    output = helper.make_tensor_value_info("EMBEDDINGS", TensorProto.FLOAT, ["B", patches])
    return make_model("cancelling", nodes, [crops], [output], constants)


def test_default_detector_passes_the_gate_and_default_embedder_counts_as_another(
    installation: Installation, tmp_path: Path
) -> None:
    said: list[str] = []
    repository = CHECKOUT / "model_repository"
    chosen = choose(Precision.AUTO, installation, tmp_path, repository, MODELS, said.append)
    assert chosen.bf16 == {"detector"}, said
    assert not chosen.changed
    assert [each.model for each in read_findings(tmp_path, installation).values()] == list(MODELS)
    assert len(said) == 2
    assert all(each.possible and each.gains for each in chosen.comparisons.values()), said
    # The stored findings decide again, by another setting.
    forced = choose(Precision.BF16, installation, tmp_path, repository, MODELS, said.append)
    assert forced.bf16 == set(MODELS)
    assert forced.changed == {"embedder"}
    assert len(said) == 2


def test_planted_model_that_bf16_destroys_stays_in_float32(installation: Installation, tmp_path: Path) -> None:
    repository = build_repository(tmp_path)
    assert compare(installation, repository, "embedder").same
    write_model(repository, "embedder", cancelling_embedder(), {"preprocess": {"resize": "squash"}}, max_batch_size=64)
    found = compare(installation, repository, "embedder")
    assert (found.same, found.chosen) == (False, Precision.FLOAT32), found


async def test_engine_serves_bf16_and_keeps_the_embedders_identity(installation: Installation, tmp_path: Path) -> None:
    repository = build_repository(tmp_path)
    crops = np.random.default_rng(5).integers(0, 256, (5, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
    frames = np.random.default_rng(6).integers(0, 256, (3, 64, 64, 3), np.uint8)
    async with running_engine(repository, precision=Precision.BF16) as running:
        assert running.events.precisions == dict.fromkeys(MODELS, "bf16")
        assert set(running.events.providers.values()) == {"OpenVINOExecutionProvider"}
        file = sha256_of(repository / "embedder" / "1" / "model.onnx")
        assert running.engine.spec(EMBEDDER).sha256 == file
        for count in (1, 5):
            answer = await running.engine.runner(EMBEDDER).infer(
                {"CROPS": list(crops[:count])}, deadline=time.monotonic() + 10
            )
            difference = np.abs(answer["EMBEDDINGS"] - expected_embeddings(crops[:count])).max()
            # Exact answers would mean that it ran in float32 after all.
            assert 0 < difference < ROUGH
        found = await running.engine.runner(DETECTOR).infer({"IMAGES": list(frames)}, deadline=time.monotonic() + 10)
        for place, frame in enumerate(frames):
            np.testing.assert_allclose(found["SCORES"][place], expected_detections(frame)[1], atol=ROUGH)


async def test_float32_by_setting_gives_exact_answers(installation: Installation, tmp_path: Path) -> None:
    repository = build_repository(tmp_path)
    crops = np.random.default_rng(5).integers(0, 256, (2, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
    async with running_engine(repository, precision=Precision.FLOAT32) as running:
        assert running.events.precisions == dict.fromkeys(MODELS, "float32")
        answer = await running.engine.runner(EMBEDDER).infer({"CROPS": list(crops)}, deadline=time.monotonic() + 10)
        np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(crops), atol=1e-6)
