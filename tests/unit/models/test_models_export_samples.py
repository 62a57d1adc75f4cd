"""Files that `models export` wrote: they answer like PyTorch and like the adopted export of the same network.

`tests/congruence/command_samples.py` made the files with the command, and `exported_samples.py`, which knows nothing of
Sightline, PyTorch's answers; no PyTorch is needed here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from sightline_server.triton.client import parse_config
from tests.support.adopted import EXPORTED, LABELS_OF_SAMPLES, add_exported, adopt_sample, answers, distances
from tests.support.adopted import SAMPLES as ADOPTED
from tests.support.tiny_models import build_repository

ACCURACY = 1e-6
FAMILIES = {"siglip2", "dinov2-cls", "dinov2-mean", "dinov3", "clip", "mobileclip2-fastvit", "timm-vit"}
DETECTORS = {"rt-detr", "rt-detr-v2", "d-fine"}
SHORTEST = {"resize": "shortest-edge", "resample": "bicubic"}
SQUASH = {"resize": "squash", "resample": "bilinear"}
STEPS: Mapping[str, Mapping[str, object]] = {
    "siglip2": SQUASH,
    "dinov2-cls": {"resize": "shortest-edge + center-crop", "shortest_edge": 32, "resample": "bicubic"},
    "dinov3": SQUASH,
    "clip": SHORTEST,
    "mobileclip2-fastvit": SHORTEST,
    "rt-detr": SQUASH,
}


def require_same(some: Mapping[str, NDArray[Any]], others: Mapping[str, NDArray[Any]]) -> None:
    """Fails where answers differ by more than the accuracy; rows of detectors are compared as sets."""
    assert set(some) == set(others)
    if "EMBEDDINGS" in some:
        np.testing.assert_allclose(some["EMBEDDINGS"], others["EMBEDDINGS"], rtol=0, atol=ACCURACY)
        return
    assert some["SCORES"].shape == others["SCORES"].shape
    for image in range(len(some["SCORES"])):
        assert distances(some, others, image).max() <= ACCURACY
        assert distances(others, some, image).max() <= ACCURACY


@pytest.mark.parametrize("name", sorted(FAMILIES | DETECTORS | set(EXPORTED)))
def test_an_export_answers_like_pytorch_and_like_the_other_route(tmp_path: Path, name: str) -> None:
    other = build_repository(tmp_path / "other" / "repository")
    expected = adopt_sample(other, ADOPTED[name])
    images = expected.pop("images")
    adopted = answers(other, "embedder-mine" if "EMBEDDINGS" in expected else "detector", images)
    repository = build_repository(tmp_path / "repository")
    folder = add_exported(repository, name).name
    found = answers(repository, folder, images)
    require_same(found, expected)
    require_same(found, adopted)
    # A batch larger than those that were traced and compared.
    many = answers(repository, folder, np.concatenate([images] * 3))
    require_same({key: values[-len(images) :] for key, values in many.items()}, expected)


@pytest.mark.parametrize("name", sorted(FAMILIES | DETECTORS))
def test_an_export_is_plain_onnx(tmp_path: Path, name: str) -> None:
    with np.load(EXPORTED[name]) as archive:
        model = onnx.load_model_from_string(archive["model"].tobytes())
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    metadata = {each.key: each.value for each in model.metadata_props}
    assert metadata["exported_from"] == name
    text = model.SerializeToString()
    # Paths of the machine that made it.
    assert b"/work/" not in text and b"/home/" not in text and b"site-packages" not in text


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_are_those_of_the_processor(tmp_path: Path, name: str) -> None:
    repository = build_repository(tmp_path / "repository")
    folder = add_exported(repository, name)
    parameters = parse_config((folder / "config.pbtxt").read_text())["parameters"]
    assert json.loads(parameters["preprocess"]["string_value"]) == STEPS[name]
    if name in DETECTORS:
        assert json.loads(parameters["labels"]["string_value"]) == list(LABELS_OF_SAMPLES)
