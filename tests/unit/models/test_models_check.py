"""The check: contract of any model, references of the default ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_models.check import check_one, compare
from sightline_models.defaults import DETECTOR, EMBEDDER
from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.images import probes
from sightline_models.store import State, inspect, model_path


def own_embedder(*, dtype: type[np.generic] = np.uint8, output: str = "EMBEDDINGS", gain: float = 1.0) -> bytes:
    """An embedder of three numbers, the mean colour, for crops of 6 x 4 pixels."""
    graph = Graph("own")
    crops = graph.input("CROPS", dtype, ["batch", 6, 4, 3])
    x = graph.node("ReduceMean", [graph.node("Cast", [crops], to=1)], axes=[1, 2], keepdims=0)
    x = graph.node("LpNormalization", [x], axis=1, p=2)
    x = graph.node("Mul", [x, graph.constant(np.array(gain, dtype=np.float32))])
    graph.output(x, output, np.float32, ["batch", 3])
    return graph.serialize({})


def drop_in(repository: Path, data: bytes) -> None:
    path = model_path(repository, "embedder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    facts = {"name": "own", "version": "1", "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(facts))


def test_a_model_of_ones_own_passes_without_references(tmp_path: Path) -> None:
    drop_in(tmp_path, own_embedder())
    checked = check_one(inspect(tmp_path, EMBEDDER))
    assert (checked.stored.state, dict(checked.deviation)) == (State.CUSTOM, {})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (own_embedder(dtype=np.int32), r"CROPS must be uint8 \[batch, height, width, 3\]"),
        (own_embedder(output="FEATURES"), "output EMBEDDINGS must be"),
        (own_embedder(gain=2.0), "not of length 1"),
        (own_embedder(gain=float("nan")), "EMBEDDINGS is not finite"),
        (b"no model", "cannot load it"),
    ],
)
def test_a_model_against_the_contract_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    drop_in(tmp_path, data)
    with pytest.raises(ModelError, match=reason):
        check_one(inspect(tmp_path, EMBEDDER))


def test_answers_away_from_the_reference_are_refused() -> None:
    wrong = np.full((2, 1280), 1 / np.sqrt(1280), dtype=np.float32)
    with pytest.raises(ModelError, match=r"EMBEDDINGS is .* away from the reference"):
        compare(EMBEDDER, {"EMBEDDINGS": wrong})
    with pytest.raises(ModelError, match="away from the reference"):
        compare(EMBEDDER, {"EMBEDDINGS": wrong[:, :640]})


def test_a_detector_that_finds_nothing_is_refused() -> None:
    nothing: dict[str, NDArray[Any]] = {
        "BOXES": np.zeros((2, 300, 4)),
        "SCORES": np.zeros((2, 300)),
        "LABELS": np.zeros((2, 300), np.int32),
    }
    with pytest.raises(ModelError, match="away from the reference"):
        compare(DETECTOR, nothing)


def test_the_images_are_the_same_everywhere() -> None:
    digest = hashlib.sha256(probes(416).tobytes()).hexdigest()
    assert digest == "c5691a54b715f394f46b7da5aef9516f0bf318b94ed012d769b9cc6284f822e4"
    assert probes(260).shape == (2, 260, 260, 3)
