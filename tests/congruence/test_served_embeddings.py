"""Triton serves the same values as ONNX Runtime on the same file: the engine adds nothing and loses nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from sightline_models.onnx_runtime import onnxruntime
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.ports import Engine
from sightline_server.stages.crop import crop
from sightline_server.stages.detect import detector_input, split_answer
from sightline_server.stages.embed import check_embeddings
from tests.support.engine import CHECKOUT, embedded_engine
from tests.support.pictures import noise
from tests.support.world import draw_photo, draw_product

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
REPOSITORY = CHECKOUT / "model_repository"
NEAR = 1e-4
"""Both run the same kernels, but of the ONNX Runtime in two environments, and in batches of different sizes."""


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[Engine]:
    """The real models in a Triton of this test's own."""
    made = embedded_engine(REPOSITORY)
    await made.start()
    yield made
    await made.stop()


def run_directly(model: str, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The model's outputs by ONNX Runtime in this process."""
    path = Path(REPOSITORY / model / "1" / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: batch}), strict=True))


async def test_served_answers_equal_those_of_onnx_runtime(engine: Engine) -> None:
    frames = [Frame(np.asarray(draw_photo(seed))) for seed in range(3)] + [Frame(noise(320, 200))]
    seen = [detector_input(frame, engine.spec(DETECTOR)).pixels for frame in frames]
    crops = [crop(frame, Box.whole(), engine.spec(EMBEDDER)).pixels for frame in frames]
    crops += [
        np.ascontiguousarray(crop(Frame(np.asarray(draw_product(n))), Box.whole(), engine.spec(EMBEDDER)).pixels)
        for n in range(4)
    ]

    embedded = await engine.runner(EMBEDDER).infer({"CROPS": crops}, deadline=None)
    served = check_embeddings(embedded, len(crops), engine.spec(EMBEDDER))
    direct = run_directly("embedder", np.stack(crops))["EMBEDDINGS"]
    assert served.shape == direct.shape == (len(crops), engine.spec(EMBEDDER).dimension)
    assert np.abs(served - direct).max() < NEAR
    assert np.linalg.norm(served, axis=1) == pytest.approx(1.0, abs=1e-5)
    # Different images have different embeddings, so that the comparison above means something.
    assert (served @ served.T - np.eye(len(crops))).max() < 0.999

    found = await engine.runner(DETECTOR).infer({"IMAGES": seen}, deadline=None)
    split_answer(found, len(seen), engine.spec(DETECTOR))
    wanted = run_directly("detector", np.stack(seen))
    assert np.abs(found["SCORES"] - wanted["SCORES"]).max() < NEAR
    # Answers of almost equal score may swap ranks.
    clear = wanted["SCORES"] > 0.05
    assert clear.any()
    assert np.abs(found["BOXES"] - wanted["BOXES"])[clear].max() < 1e-3
    assert (found["LABELS"] == wanted["LABELS"])[clear].all()


async def test_a_batch_gives_what_its_members_give_alone(engine: Engine) -> None:
    crops = [crop(Frame(np.asarray(draw_product(n))), Box.whole(), engine.spec(EMBEDDER)).pixels for n in range(6)]
    together = (await engine.runner(EMBEDDER).infer({"CROPS": crops}, deadline=None))["EMBEDDINGS"]
    alone = [(await engine.runner(EMBEDDER).infer({"CROPS": [one]}, deadline=None))["EMBEDDINGS"][0] for one in crops]
    assert np.abs(together - np.stack(alone)).max() < 1e-5
