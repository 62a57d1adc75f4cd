"""The recipes whose hit rates are compared: names, models and settings."""

from pathlib import Path
from typing import Any

import pytest

from load_tests import recipes
from load_tests.recipes import MIDDLE, RECIPES, chosen, environment, repository_of
from sightline_models.offered import OFFERED_MODELS, SETS


def test_names_are_different_and_models_are_known() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    known = {*SETS, *(model.name for model in OFFERED_MODELS)}
    assert known.issuperset(name for recipe in RECIPES for name in recipe.models)
    assert chosen(None) == RECIPES
    assert [recipe.name for recipe in chosen(["pair", "default"])] == ["pair", "default"]
    with pytest.raises(ValueError, match="no recipe 'none'; possible are 'default', "):
        chosen(["none"])


def test_a_recipe_serves_its_own_copy_of_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("detector", "embedder"):
        (tmp_path / "model_repository" / folder).mkdir(parents=True)
    commands: list[tuple[Any, ...]] = []
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    monkeypatch.setattr(recipes, "sightline", lambda *arguments: commands.append(arguments))
    [wanted] = chosen(["pair, middle 80 %"])
    found = environment(wanted, tmp_path, {"A": "b"})
    place = tmp_path / "models-pair-lite2-lcnetv2-260"
    assert found == {"SIGHTLINE_ENGINE__REPOSITORY": str(place), "A": "b", **MIDDLE}
    assert commands == [("models", "use", *wanted.models, "--repository", str(place))]
    assert sorted(path.name for path in repository_of(wanted.models, tmp_path).iterdir()) == ["detector", "embedder"]
    environment(chosen(["default"])[0], tmp_path, {})
    assert len(commands) == 1
