"""The command: JSON alone on stdout, errors on one line, exit codes."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_models.defaults import DEFAULT_MODELS, DETECTOR
from sightline_models.store import model_path
from sightline_server.cli.models import app


def test_list_says_what_is_missing_as_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["list", "--repository", str(tmp_path), "--json"])
    assert result.exit_code == 0
    models = json.loads(result.stdout)["models"]
    assert [(m["folder"], m["name"], m["state"]) for m in models] == [
        (model.folder, model.name, "missing") for model in DEFAULT_MODELS
    ]
    assert [m["expected_sha256"] for m in models] == [model.sha256 for model in DEFAULT_MODELS]


def test_list_for_people_names_source_and_licence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["list", "--repository", str(tmp_path)])
    assert DETECTOR.source.requirement in result.stdout
    assert DETECTOR.source.licence in result.stdout


@pytest.mark.parametrize("command", ["check", "pull"])
def test_a_tampered_model_is_one_line_on_stderr_with_both_hashes(tmp_path: Path, command: str) -> None:
    path = model_path(tmp_path, "detector")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"tampered")
    result = CliRunner().invoke(app, [command, "--repository", str(tmp_path), "--home", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert f"expected sha256 {DETECTOR.sha256}, found {hashlib.sha256(b'tampered').hexdigest()}" in line
    assert str(path) in line


def test_check_of_an_empty_repository_says_how_to_go_on(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--repository", str(tmp_path), "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "sightline models pull" in result.stderr
