"""`models adopt` of detectors: heads with two outputs and with one, and what is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from sightline_models.coco import COCO_LABELS
from sightline_models.defaults import DETECTOR
from sightline_models.errors import ModelError
from sightline_models.label_files import read_labels
from sightline_models.store import State, inspect, model_path
from sightline_server.triton.client import parse_config
from tests.support.adopted import adopt, answers
from tests.support.exported_models import (
    CLASS_WEIGHT,
    SIZE,
    Floats,
    detections,
    detr,
    images,
    raw_detections,
    sigmoid,
    tower,
    yolo,
)
from tests.support.tiny_models import build_repository

LABELS = ("person", "chair", "sofa", "lamp", "vase")
TWO = ("--logits", "logits", "--boxes", "pred_boxes")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of tiny models without a detector's file, next to which labels and a few other files lie."""
    repository = build_repository(tmp_path / "repository")
    model_path(repository, "detector").unlink()
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n")
    (tmp_path / "four.txt").write_text("\n".join(LABELS[:4]))
    return repository


def adopt_detector(
    repository: Path, model: onnx.ModelProto, *options: str, labels: str = "labels.txt"
) -> tuple[int, str]:
    """The exit code of the command, and its output."""
    done = adopt(repository, model, "--labels", str(repository.parent / labels), *options, role="detector")
    return done.exit_code, done.stdout + done.stderr


def require_detections(repository: Path, boxes: Floats, probabilities: Floats, count: int) -> None:
    """Fails unless the adopted detector gives these for `images(count)`."""
    found = answers(repository, "detector", images(count, seed=count))
    expected_boxes, expected_scores, expected_labels = detections(boxes, probabilities)
    np.testing.assert_allclose(found["SCORES"], expected_scores, atol=1e-6)
    np.testing.assert_allclose(found["BOXES"], expected_boxes, atol=1e-6)
    assert (found["LABELS"] == expected_labels).all()


def test_a_head_with_two_outputs_answers_as_it_was_exported(repository: Path) -> None:
    code, output = adopt_detector(repository, detr(), *TWO)
    assert code == 0, output
    assert output.endswith("mine is in place; restart the server\n")
    for count in (1, 3):
        logits, boxes, _ = raw_detections(images(count, seed=count))
        require_detections(repository, boxes, sigmoid(logits), count)
    stored = inspect(repository, DETECTOR)
    assert (stored.state, stored.name) == (State.CUSTOM, "mine")
    text = parse_config((repository / "detector" / "config.pbtxt").read_text())["parameters"]
    facts = {key: value["string_value"] for key, value in text.items()}
    assert (facts["name"], json.loads(facts["labels"])) == ("mine", list(LABELS))
    assert json.loads(facts["preprocess"]) == {"resize": "squash"}
    assert "vocabulary" not in facts
    assert not list(repository.glob(".*"))


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("objectness", [True, False])
def test_a_head_with_one_output_answers_as_it_was_exported(repository: Path, by_row: bool, objectness: bool) -> None:
    options = ["--objectness"] if objectness else []
    code, output = adopt_detector(repository, yolo(by_row=by_row, objectness=objectness), *options)
    assert code == 0, output
    logits, boxes, presence = raw_detections(images(2, seed=2))
    probabilities = sigmoid(logits) * (presence[..., None] if objectness else 1)
    require_detections(repository, boxes, probabilities, 2)


def test_pixels_of_an_input_that_is_not_square_are_parts_of_each_edge(repository: Path) -> None:
    model = yolo(by_row=True, objectness=False, shape=("batch", 3, "height", "width"))
    code, output = adopt_detector(repository, model, "--size", f"{SIZE}x{2 * SIZE}")
    assert code == 0, output
    wide = np.concatenate([images(2), images(2, seed=9)], axis=2)
    logits, boxes, _ = raw_detections(wide)
    expected, scores, _ = detections((boxes / [2, 1, 2, 1]).astype(np.float32), sigmoid(logits))
    found = answers(repository, "detector", wide)
    np.testing.assert_allclose(found["SCORES"], scores, atol=1e-6)
    np.testing.assert_allclose(found["BOXES"], expected, atol=1e-6)


def test_a_class_for_no_object_is_left_out_of_a_softmax(repository: Path) -> None:
    options = (*TWO, "--activation", "softmax")
    code, output = adopt_detector(repository, detr(), *options, labels="four.txt")
    assert code == 0, output
    logits, boxes, _ = raw_detections(images(2, seed=2))
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    require_detections(repository, boxes, (shares / shares.sum(axis=2, keepdims=True))[..., :4], 2)


def test_corners_in_pixels_and_probabilities_are_taken(repository: Path) -> None:
    head = yolo(by_row=True, objectness=False)
    names = [each.name for each in head.graph.output]
    assert names == ["output0"]
    for name in ("pixel_boxes", "probabilities"):
        head.graph.output.append(helper.make_tensor_value_info(name, 1, None))
    options = ("--logits", "probabilities", "--boxes", "pixel_boxes", "--activation", "none")
    code, output = adopt_detector(repository, head, *options, "--box-format", "xyxy-pixels")
    assert code == 0, output
    logits, edges, _ = raw_detections(images(2, seed=2))
    centre_and_size = np.concatenate([(edges[..., :2] + edges[..., 2:]) / 2, edges[..., 2:] - edges[..., :2]], axis=2)
    require_detections(repository, centre_and_size, sigmoid(logits), 2)


def test_more_rows_than_the_contract_needs_are_reduced_to_the_best(repository: Path) -> None:
    nodes = [*detr().graph.node][-3:]
    nodes += [
        helper.make_node("Concat", ["logits"] * 30, ["all_logits"], axis=1),
        helper.make_node("Concat", ["pred_boxes"] * 30, ["all_boxes"], axis=1),
    ]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in detr().graph.initializer}
    model = tower(["all_logits", "all_boxes"], more=nodes, weights=weights)
    code, output = adopt_detector(repository, model, "--logits", "all_logits", "--boxes", "all_boxes")
    assert code == 0, output
    found = answers(repository, "detector", images(1))
    logits, _, _ = raw_detections(images(1))
    assert found["SCORES"].shape == (1, 300)
    expected = np.sort(np.repeat(sigmoid(logits).max(axis=2), 30, axis=1))[:, ::-1][:, :300]
    np.testing.assert_allclose(found["SCORES"], expected, atol=1e-6)


def test_the_vocabulary_is_that_of_coco_or_the_stated_one(repository: Path) -> None:
    (repository.parent / "coco.json").write_text(json.dumps({"id2label": dict(enumerate(COCO_LABELS))}))
    weights = {"class_weight": np.resize(CLASS_WEIGHT, (CLASS_WEIGHT.shape[0], len(COCO_LABELS)))}
    model = detr()
    for each in model.graph.initializer:
        if each.name in weights:
            each.CopyFrom(onnx.numpy_helper.from_array(weights[each.name], each.name))
    code, output = adopt_detector(repository, model, *TWO, labels="coco.json")
    assert code == 0, output
    config = (repository / "detector" / "config.pbtxt").read_text()
    assert json.loads(parse_config(config)["parameters"]["vocabulary"]["string_value"])["people"] == ["person"]
    stated = '{"people": [], "not_products": ["vase"]}'
    code, output = adopt_detector(repository, detr(), *TWO, "--vocabulary", stated, "--force")
    assert code == 0, output
    assert "no label means a person, so people are searched like products" in output
    config = (repository / "detector" / "config.pbtxt").read_text()
    assert parse_config(config)["parameters"]["vocabulary"]["string_value"] == stated


def test_a_detector_of_the_operator_is_replaced_by_force_only(repository: Path) -> None:
    assert adopt_detector(repository, detr(), *TWO)[0] == 0
    before = model_path(repository, "detector").read_bytes()
    code, output = adopt_detector(repository, detr(), *TWO, "--mean", "0")
    assert code == 1 and "keep a copy of it and add --force to replace it" in output
    assert model_path(repository, "detector").read_bytes() == before
    assert adopt_detector(repository, detr(), *TWO, "--mean", "0", "--force")[0] == 0
    assert model_path(repository, "detector").read_bytes() != before


ROWS = yolo(by_row=True, objectness=False)
REFUSED: list[tuple[onnx.ModelProto, Sequence[str], str]] = [
    (detr(), ("--logits", "logits"), "--logits and --boxes belong together"),
    (detr(), (), "has the outputs logits, pred_boxes; name one with --output"),
    (detr(), (*TWO, "--output", "logits"), "leave --logits and --boxes out"),
    (detr(), (*TWO, "--objectness"), "leave --logits and --boxes out"),
    (detr(), ("--logits", "scores", "--boxes", "pred_boxes"), "has no output 'scores'; --logits must be one of logits"),
    (detr(), ("--logits", "logits", "--boxes", "boxes"), "has no output 'boxes'; --boxes must be one of logits"),
    (detr(), ("--logits", "pred_boxes", "--boxes", "logits"), "has shape [batch, 16, 5]; expected [batch, rows, 4]"),
    (detr(), (*TWO, "--labels", "FOUR"), "output logits has 5 classes, and --labels has 4 labels; give one label"),
    (detr(), (*TWO, "--activation", "softmax"), "--labels has 5 labels and one for no object; give"),
    (detr(), (*TWO, "--activation", "none"), "are not probabilities yet; use --activation sigmoid"),
    (detr(), (*TWO, "--box-format", "cxcywh-pixels"), "so they are in parts of the image; use --box-format cxcywh"),
    (detr(), (*TWO, "--pool", "cls"), "a detector needs --labels FILE and has no --pool"),
    (detr(), (*TWO, "--name", "picodet-coco-416"), "is the name of a model of this package"),
    (detr(), (*TWO, "--vocabulary", "[]"), "--vocabulary '[]' is not a JSON object"),
    (detr(), (*TWO, "--vocabulary", '{"people": ["human"]}'), "`people` has 'human', which is not among"),
    (detr(), (*TWO, "--preprocess", '{"resize": 1}'), "`resize` is 1"),
    (tower(["pooled"]), (), "has shape [batch, 8]; with the 5 labels of --labels one axis must be 9"),
    (ROWS, ("--labels", "FOUR"), "has shape [batch, 16, 9]; with the 4 labels of --labels one axis must be 8"),
    (ROWS, ("--objectness",), "one axis must be 10, a box, objectness and a score for each label"),
    (ROWS, ("--activation", "sigmoid"), "are probabilities already; use --activation none"),
    (ROWS, ("--activation", "softmax"), "--activation softmax is for a head with --logits and --boxes"),
    (ROWS, ("--box-format", "xyxy"), "so they are in pixels; use --box-format xyxy-pixels"),
]


@pytest.mark.parametrize(("model", "options", "message"), REFUSED, ids=[each[2][:50] for each in REFUSED])
def test_what_cannot_be_wrapped_is_refused(
    repository: Path, model: onnx.ModelProto, options: Sequence[str], message: str
) -> None:
    config = (repository / "detector" / "config.pbtxt").read_text()
    four = str(repository.parent / "four.txt")
    code, output = adopt_detector(repository, model, *(four if each == "FOUR" else each for each in options))
    assert code == 1
    assert message in output
    assert output.count("\n") == 1
    assert not model_path(repository, "detector").exists()
    assert (repository / "detector" / "config.pbtxt").read_text() == config
    assert not list(repository.glob(".*"))


def test_an_embedder_has_no_labels(repository: Path) -> None:
    refused = adopt(repository, tower(["pooled"]), "--labels", str(repository.parent / "labels.txt"))
    assert refused.exit_code == 1
    assert "an embedder has none of the options --logits" in refused.stderr


FILES = [
    ("labels.txt", b"a\r\nb c \n\n", ("a", "b c")),
    ("labels.json", b'["a", "b"]', ("a", "b")),
    ("config.json", b'{"id2label": {"1": "b", "0": "a"}}', ("a", "b")),
    ("labels.txt", b"a\n\nb", "must have a label for each class and no empty one"),
    ("labels.txt", b"\n", "must have a label for each class"),
    ("labels.txt", b"\xff", "is not UTF-8 text"),
    ("labels.json", b"a", "is not JSON"),
    ("labels.json", b"[]", "must have a label for each class"),
    ("labels.json", b'["a", 1]', "must have a label for each class"),
    ("labels.json", b'{"labels": []}', "must be a JSON list of labels, or an object with `id2label`"),
    ("labels.json", b'{"id2label": {"1": "a", "2": "b"}}', "must have the indices 0 to 1"),
    ("labels.txt", None, "no such file"),
]


@pytest.mark.parametrize(("name", "content", "expected"), FILES)
def test_labels_are_read_in_the_order_of_the_classes(
    tmp_path: Path, name: str, content: bytes | None, expected: tuple[str, ...] | str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    if isinstance(expected, tuple):
        assert read_labels(tmp_path / name) == expected
        return
    with pytest.raises(ModelError, match=expected):
        read_labels(tmp_path / name)
