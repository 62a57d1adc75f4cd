"""The shipped configurations say of the default models what their recipes say."""

import json
import re
from pathlib import Path

import pytest

from sightline_models.defaults import DEFAULT_MODELS, DefaultModel
from sightline_models.offered import PRINTED_TEXT_MODELS

REPOSITORY = Path(__file__).parents[3] / "model_repository"


def parameters(text: str) -> dict[str, str]:
    """The string parameters of a config.pbtxt."""
    found = re.findall(r'parameters \{ key: "(\w+)" value \{ string_value: ("(?:[^"\\]|\\.)*") \} \}', text)
    return {key: json.loads(value) for key, value in found}


@pytest.mark.parametrize("model", [*DEFAULT_MODELS, *PRINTED_TEXT_MODELS], ids=lambda model: model.folder)
def test_a_configuration_agrees_with_its_recipe(model: DefaultModel) -> None:
    text = (REPOSITORY / model.folder / "config.pbtxt").read_text()
    given = parameters(text)
    assert given["name"] == model.name
    assert json.loads(given["preprocess"]) == dict(model.preprocess)
    assert json.loads(given.get("vocabulary", "{}")) == dict(model.vocabulary)
    assert tuple(json.loads(given.get("labels", "[]"))) == model.labels
    # Sizes come from the ONNX file.
    assert "dims" not in text
    assert "queue_policy" not in text


def test_the_repository_holds_nothing_but_model_folders() -> None:
    assert sorted(path.name for path in REPOSITORY.iterdir()) == [
        "detector",
        "embedder",
        "text_detector",
        "text_reader",
    ]
