"""Models of the operator's own on the real Triton: their preprocess is executed, and a third role is served.

The echo models answer with the pixels that they get, so that a single wrong pixel is seen. What is expected is drawn
with numpy or scaled by Pillow, not by the code under test.
"""

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from PIL import Image

from sightline_models.onnx_runtime import onnxruntime
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DETECTOR, EMBEDDER, DetectorSpec, EmbedderSpec, ModelSpec, Role, identity
from sightline_server.settings import DetectionSettings
from sightline_server.stages.crop import crop
from sightline_server.stages.detect import detector_input, split_answer, to_scene
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.specs import (
    BOTH,
    DETECTOR_CONTRACT,
    EMBEDDER_CONTRACT,
    Contract,
    ServedModel,
    Tensor,
    check,
    read_detector,
    read_embedder,
)
from sightline_server.triton.stored import read_stored
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.engine import embedded_engine
from tests.support.pictures import noise
from tests.support.small_shop import SmallShop, serve_command
from tests.support.tiny_models import (
    LABELS,
    cell_boxes,
    detector_model,
    echo_detector,
    echo_embedder,
    weigher_model,
    write_model,
)

pytestmark = pytest.mark.engine
SIZE = 32
CROP = "shortest-edge + center-crop"
Facts = Mapping[str, object]
Pixels = NDArray[np.uint8]


def own_models(folder: Path, detector: Facts, embedder: Facts) -> Path:
    """A repository of two echo models with these preprocesses."""
    labels = {"labels": list(LABELS)}
    write_model(folder, "detector", echo_detector(SIZE), {**labels, "preprocess": detector}, max_batch_size=8)
    write_model(folder, "embedder", echo_embedder(SIZE), {"preprocess": embedder}, max_batch_size=8)
    return folder


@asynccontextmanager
async def running(repository: Path, models: tuple[ServedModel[Any], ...] = BOTH) -> AsyncIterator[TritonEngine]:
    """An embedded engine on the repository for the length of the block."""
    engine = embedded_engine(repository, models=models, roles=tuple(model.role for model in models))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


async def seen_by_detector(engine: TritonEngine, pixels: Pixels) -> Pixels:
    """The pixels that the echo detector gets of a photo."""
    part = detector_input(Frame(pixels), engine.spec(DETECTOR)).pixels
    answer = await engine.runner(DETECTOR).infer({"IMAGES": [part]}, deadline=None)
    levels = np.rint(answer["BOXES"][0] * 255).reshape(SIZE, SIZE, 3)
    pixels_seen: Pixels = levels.astype(np.uint8)
    return pixels_seen


async def embedded(
    engine: TritonEngine, pixels: Pixels, box: Box, role: Role[EmbedderSpec] = EMBEDDER
) -> NDArray[np.float32]:
    """The answer of the echo embedder in `role` for a part of a photo."""
    part = crop(Frame(pixels), box, engine.spec(role)).pixels
    answer = await engine.runner(role).infer({"CROPS": [part]}, deadline=None)
    embedding: NDArray[np.float32] = answer["EMBEDDINGS"][0]
    return embedding


def echoed(crop: Pixels) -> NDArray[np.float32]:
    """The echo embedder's answer for this input."""
    flat = crop.reshape(-1).astype(np.float64) + 1
    return (flat / np.linalg.norm(flat)).astype(np.float32)


def enlarged(pixels: Pixels, down: int, across: int) -> Pixels:
    """Each pixel as a block of `down` x `across` pixels."""
    return pixels.repeat(down, 0).repeat(across, 1)


@dataclass(frozen=True)
class WeigherSpec:
    """A model of another role: TOKENS int64 [B,length] and WEIGHTS float32 [B,length] -> TOTAL float32 [B,1]."""

    name: str
    length: int
    sha256: str
    max_batch_size: int = 8
    instances: int = 1

    @property
    def identity(self) -> str:
        return identity(self.name, self.sha256)


if TYPE_CHECKING:
    _spec: ModelSpec = WeigherSpec("weigher", 5, "")

WEIGHER = Role[WeigherSpec]("weigher")
WEIGHER_CONTRACT = Contract(
    (Tensor("TOKENS", "INT64", ("B", "L")), Tensor("WEIGHTS", "FP32", ("B", "L"))),
    (Tensor("TOTAL", "FP32", ("B", 1)),),
)


def read_weigher(name: str, metadata: Mapping[str, Any], config: Mapping[str, Any], sha256: str) -> WeigherSpec:
    """The weigher's specification."""
    return WeigherSpec(name, check(name, WEIGHER_CONTRACT, metadata)["L"], sha256)


async def test_a_third_role_a_squashed_photo_and_a_center_crop_are_served(tmp_path: Path) -> None:
    squash = {"resize": "squash", "resample": "nearest", "color": "BGR"}
    cut = {"resize": CROP, "shortest_edge": 36, "resample": "nearest"}
    repository = own_models(tmp_path, squash, cut)
    write_model(repository, "weigher", weigher_model(5), {}, max_batch_size=8)
    async with running(repository, (*BOTH, ServedModel(WEIGHER, WEIGHER_CONTRACT, read_weigher))) as engine:
        pattern = noise(8, 4)
        assert (await seen_by_detector(engine, pattern) == enlarged(pattern, 8, 4)[..., ::-1]).all()
        wide = noise(18, 12)
        middle = enlarged(wide, 3, 3)[2:34, 11:43]
        np.testing.assert_allclose(await embedded(engine, wide, Box.whole()), echoed(middle), atol=1e-6)
        part = enlarged(wide[:, :12], 3, 3)[2:34, 2:34]
        box = Box(0.0, 0.0, 12 / 18, 1.0)
        np.testing.assert_allclose(await embedded(engine, wide, box), echoed(part), atol=1e-6)
        assert engine.spec(WEIGHER).length == 5 and "weigher@" in engine.spec(WEIGHER).identity
        chance = np.random.default_rng(1)
        tokens, weights = chance.integers(0, 99, (3, 5)), chance.random((3, 5), np.float32)
        inputs = {"TOKENS": list(tokens), "WEIGHTS": list(weights)}
        answer = await engine.runner(WEIGHER).infer(inputs, deadline=None)
        np.testing.assert_allclose(answer["TOTAL"], (tokens * weights).sum(axis=1, keepdims=True), rtol=1e-5)
        wrong_inputs: list[Any] = [
            {"TOKENS": list(tokens)},
            {**inputs, "TOKENS": list(tokens[:2])},
            {**inputs, "WEIGHTS": tokens},
        ]
        for wrong in wrong_inputs:
            with pytest.raises(ValueError, match=r"TOKENS|WEIGHTS"):
                await engine.runner(WEIGHER).infer(wrong, deadline=None)
        with pytest.raises(ValueError, match="no model has the role other"):
            engine.runner(Role("other"))


LETTERBOX = {"resize": "letterbox", "fill": 114, "resample": "nearest"}
EMBEDDERS = {"pillow-bicubic": EMBEDDER, "lanczos": Role[EmbedderSpec]("embedder-lanczos")}
"""The role of the embedder whose images are resampled so."""
MAPPED: dict[str, tuple[Facts, tuple[float, float], tuple[float, float]]] = {
    "squash": ({"resize": "squash", "resample": "nearest"}, (1, 1), (0, 0)),
    "letterbox": (LETTERBOX, (1, 2), (0, 0.5)),
    "top-left": ({"resize": "letterbox", "fill": 114, "align": "top-left"}, (1, 2), (0, 0)),
    "center-crop": ({"resize": "center-crop"}, (0.5, 1), (-0.25, 0)),
}
"""Preprocess of a detector -> scale and offset of its boxes on a photo of 200 x 100 pixels."""
DETECTORS = {name: Role[DetectorSpec](f"detector-{name}") for name in MAPPED}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TritonEngine]:
    """An engine that serves all models of the tests below, each in a separate role."""
    folder = tmp_path_factory.mktemp("many")
    own_models(folder, LETTERBOX, {})
    for resampler, embedder in EMBEDDERS.items():
        facts = {"preprocess": {"resize": CROP, "crop_ratio": 0.8, "resample": resampler}}
        write_model(folder, embedder, echo_embedder(SIZE), facts, max_batch_size=8)
    for name, detector in DETECTORS.items():
        labels = {"labels": list(LABELS), "preprocess": MAPPED[name][0], "vocabulary": {"people": []}}
        write_model(folder, detector, detector_model(), labels, max_batch_size=8)
    others: list[ServedModel[Any]] = [ServedModel(EMBEDDERS["lanczos"], EMBEDDER_CONTRACT, read_embedder)]
    others += [ServedModel(role, DETECTOR_CONTRACT, read_detector) for role in DETECTORS.values()]
    async with running(folder, (*BOTH, *others)) as engine:
        yield engine


@pytest.mark.asyncio(loop_scope="module")
async def test_a_letterbox_on_114_is_served(many: TritonEngine) -> None:
    pattern = noise(8, 4)
    seen = await seen_by_detector(many, pattern)
    assert (seen[8:24] == enlarged(pattern, 4, 4)).all()
    assert (seen[:8] == 114).all() and (seen[24:] == 114).all()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("resampler", EMBEDDERS)
async def test_resamplers_of_pillow_are_served(many: TritonEngine, resampler: str) -> None:
    photo = noise(120, 80)
    filter = Image.Resampling.BICUBIC if "bicubic" in resampler else Image.Resampling.LANCZOS
    middle = np.asarray(Image.fromarray(photo).resize((60, 40), filter))[4:36, 14:46]
    found = await embedded(many, photo, Box.whole(), EMBEDDERS[resampler])
    np.testing.assert_allclose(found, echoed(middle), atol=1e-6)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", MAPPED)
async def test_boxes_of_a_served_detector_are_mapped_back(many: TritonEngine, name: str) -> None:
    _, scale, offset = MAPPED[name]
    spec = many.spec(DETECTORS[name])
    seen = detector_input(Frame(np.full((100, 200, 3), 250, np.uint8)), spec)
    answer = await many.runner(DETECTORS[name]).infer({"IMAGES": [seen.pixels]}, deadline=None)
    raw = split_answer(answer, 1, spec)[0]
    settings = DetectionSettings(min_score=0.6, same_box_iou=1, not_products=frozenset())
    products = to_scene(raw, seen.placement, spec, settings).products
    boxes = [(each.box.x_min, each.box.y_min, each.box.x_max, each.box.y_max) for each in products]
    mapped = cell_boxes() * [*scale, *scale] - [*offset, *offset]
    whole = [box for box, score in zip(mapped, raw[1], strict=True) if score >= 0.6]
    assert len(boxes) == len(whole) > 0
    np.testing.assert_allclose(sorted(boxes), sorted(map(tuple, np.clip(whole, 0, 1))), atol=2e-5)


def test_a_preprocess_that_cannot_be_executed_ends_the_start(tmp_path: Path) -> None:
    stretched = {"resize": "stretch"}
    repository = own_models(tmp_path / "models", stretched, {"resize": "squash"})
    write_catalog(tmp_path / "catalog", [row("p", unit_vectors(1))])
    shop = SmallShop(repository, tmp_path / "catalog")
    ended = subprocess.run(serve_command(shop), env=shop.variables(), capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2, ended.stderr
    expected = "model detector: `preprocess` in config.pbtxt: `resize` is 'stretch'; possible are 'letterbox', 'squash'"
    assert expected in ended.stderr


async def test_a_stored_model_is_read_as_triton_reports_it(tmp_path: Path) -> None:
    repository = own_models(tmp_path, {"resize": "letterbox", "fill": 7}, {"resize": CROP, "shortest_edge": 40})
    async with running(repository) as engine:
        live = [replace(engine.spec(model.role), sha256="", version="") for model in BOTH]
    read = []
    for model in BOTH:
        session = onnxruntime.InferenceSession(str(repository / model.role / "1" / "model.onnx"))
        config = repository / model.role / "config.pbtxt"
        read.append(read_stored(model, config, session.get_inputs(), session.get_outputs()))
    assert read == live
