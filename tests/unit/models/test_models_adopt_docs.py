"""The commands of `docs/guide/models.md` that adopt a model, run on a model of each family."""

import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.adopted import LABELS_OF_SAMPLES, SAMPLES, adopt, adopt_sample, answers, distances
from tests.support.exported_models import CLASSES, detr, yolo
from tests.support.tiny_models import build_repository

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "models.md"
EXPORTED = {
    "SigLIP": ["siglip2"],
    "CLIP": ["clip"],
    "DINOv2": ["dinov2-cls"],
    "DINOv3": ["dinov3"],
    "MobileCLIP2": ["mobileclip2-fastvit"],
    "ViT": ["timm-vit"],
    "RT-DETR": ["rt-detr", "rt-detr-v2", "d-fine"],
}
"""The samples of each family that PyTorch exported, by the beginning of its row."""


def two_outputs() -> onnx.ModelProto:
    """Boxes in pixels and probabilities as two outputs."""
    model = yolo(by_row=True, objectness=False)
    for source, name in (("pixel_boxes", "boxes"), ("probabilities", "scores")):
        model.graph.node.append(onnx.helper.make_node("Identity", [source], [name]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model


DRAWN = {
    "DETR": (detr(), CLASSES - 1),
    "YOLOv8": (yolo(by_row=False, objectness=False), CLASSES),
    "YOLOv5": (yolo(by_row=True, objectness=True), CLASSES),
    "YOLOX": (yolo(by_row=True, objectness=True), CLASSES),
    "two outputs": (two_outputs(), CLASSES),
}
"""Heads of the other families with the number of their labels."""


def commands() -> dict[str, list[str]]:
    """The options of each family, by the text of its row."""
    rows = [line.strip("| \n").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {row[0]: shlex.split(row[1].strip("`")) for row in rows if len(row) == 2 and row[1].startswith("`--mean ")}


def options_of(family: str) -> list[str]:
    """The options of the one family whose row begins so."""
    (found,) = (options for row, options in commands().items() if row.startswith(family))
    # The model of the tests is smaller than the real one.
    return [part.replace("256", "32") for part in found]


def test_every_family_of_the_page_is_tested() -> None:
    assert len(commands()) == len(EXPORTED) + len(DRAWN)


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, names in EXPORTED.items() for name in names])
def test_the_command_of_a_family_adopts_its_export(tmp_path: Path, family: str, name: str) -> None:
    repository = build_repository(tmp_path / "repository")
    expected = adopt_sample(repository, SAMPLES[name], replaced=options_of(family))
    found = answers(repository, "embedder-mine" if "EMBEDDINGS" in expected else "detector", expected["images"])
    if "EMBEDDINGS" in found:
        np.testing.assert_allclose(found["EMBEDDINGS"], expected["EMBEDDINGS"], rtol=0, atol=1e-6)
    else:
        assert max(distances(found, expected, image).max() for image in range(len(found["SCORES"]))) <= 1e-6


@pytest.mark.parametrize("family", DRAWN)
def test_the_command_of_a_family_adopts_a_head_of_its_form(tmp_path: Path, family: str) -> None:
    repository = build_repository(tmp_path / "repository")
    model, count = DRAWN[family]
    (tmp_path / "labels.txt").write_text("\n".join(LABELS_OF_SAMPLES[:count]))
    labels = ("--labels", str(tmp_path / "labels.txt"), "--force")
    done = adopt(repository, model, *options_of(family), *labels, role="detector")
    assert done.exit_code == 0, done.stderr
