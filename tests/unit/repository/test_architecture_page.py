"""The page of the architecture draws the floors that import-linter checks."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_floors_on_the_page_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (floors,) = (each for each in contracts if each["name"] == "the floors of the server")
    lines = (ROOT / "docs" / "design" / "architecture.md").read_text().splitlines()
    assert " > ".join(floors["layers"]) in lines
