"""The command: JSON alone on stdout, errors on one line, exit codes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_models import offered
from sightline_models.defaults import DEFAULT_MODELS, DETECTOR
from sightline_models.offered import OFFERED_MODELS, PAIR, PICODET
from sightline_models.store import model_path
from sightline_server.cli.models import app
from tests.support.tiny_models import build_repository


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


def test_list_shows_what_can_be_used_with_its_figures(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["list", "--repository", str(tmp_path)])
    (row,) = [line for line in result.stdout.splitlines() if PAIR.name in line and "+" not in line]
    figures = PAIR.figures
    for text in (f"{figures.megabytes:g}", f"{figures.cpu_ms:g}", figures.quality, PAIR.licence):
        assert text
        assert text in row
    listed = json.loads(CliRunner().invoke(app, ["list", "--repository", str(tmp_path), "--json"]).stdout)["offered"]
    assert [(each["name"], each["folders"]) for each in listed] == [(model.name, []) for model in OFFERED_MODELS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["use", "pair"], "there is no model 'pair'; possible are "),
        (["pull", "pair"], "there is no model 'pair'; possible are "),
        (["pull", "small", "--force"], "--force is for the models of the repository"),
        (["use", "large", "--folder", "embedder-b"], f"{PICODET.name} cannot be in the folder 'embedder-b'"),
        (["use", PICODET.name], "no such file: "),
    ],
)
def test_a_choice_that_is_not_possible_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [*arguments, "--home", str(tmp_path)]
    command += ["--repository", str(tmp_path)] if arguments[0] == "use" else []
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sightline models: {message}")
    assert not list(tmp_path.iterdir())


def test_a_configuration_of_another_model_is_found_by_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_repository(tmp_path)
    path = model_path(tmp_path, "embedder")
    facts = {"name": "tiny", "version": "1", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(facts))
    tiny = replace(PAIR, name="tiny", sha256=facts["sha256"])
    monkeypatch.setattr(offered, "OFFERED_MODELS", (*OFFERED_MODELS, tiny))
    monkeypatch.setattr("sightline_models.check.compare", lambda model, answers: {})
    detector = model_path(tmp_path, "detector")
    facts = {"name": "own", "version": "1", "sha256": hashlib.sha256(detector.read_bytes()).hexdigest()}
    detector.with_suffix(".json").write_text(json.dumps(facts))
    assert CliRunner().invoke(app, ["check", "--repository", str(tmp_path)]).exit_code == 0
    with (tmp_path / "embedder" / "config.pbtxt").open("a") as file:
        file.write('parameters { key: "name" value { string_value: "other" } }\n')
    result = CliRunner().invoke(app, ["check", "--repository", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "it describes other, and the file next to it is tiny; run `sightline models use tiny`" in result.stderr


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
