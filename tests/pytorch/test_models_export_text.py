"""`models export --text` on folders of tiny models: the pair that it leaves, and what it refuses."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_models.embedders import embedder_folders, text_folders
from sightline_server.cli.models import app
from sightline_server.triton.client import parse_config
from tests.congruence.text_samples import Family, families, save


@pytest.fixture(scope="session")
def samples() -> dict[str, Family]:
    return {family.name: family for family in families()}


def export(folder: Path, repository: Path, *options: str) -> Result:
    arguments = ["export", str(folder), "--role", "embedder", "--text", "--repository", str(repository), *options]
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_both_towers_are_added_as_a_pair(
    tmp_path: Path, repository: Path, samples: dict[str, Family], name: str
) -> None:
    save(samples[name], tmp_path / name)
    done = export(tmp_path / name, repository, "--name", "mine")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "searches of catalogs of embedder-mine take a text" in done.stdout
    assert (embedder_folders(repository), text_folders(repository)) == (("embedder-mine",), ("text_encoder-mine",))
    parameters = parse_config((repository / "text_encoder-mine" / "config.pbtxt").read_text())["parameters"]
    declared = json.loads((repository / "embedder-mine" / "1" / "model.json").read_text())
    pair = json.loads(parameters["embedder"]["string_value"])
    assert pair == {"name": "mine", "sha256": declared["sha256"]}


def test_what_no_text_can_be_compared_with_is_refused(
    tmp_path: Path, repository: Path, samples: dict[str, Family]
) -> None:
    save(samples["clip"], tmp_path / "clip")
    pooled = export(tmp_path / "clip", repository, "--pool", "mean")
    assert pooled.exit_code == 1 and "cannot be compared with" in pooled.stderr
    to_file = export(tmp_path / "clip", repository, "--to", str(tmp_path / "model.onnx"))
    assert to_file.exit_code == 1 and "leave --to out" in to_file.stderr
    assert embedder_folders(repository) == text_folders(repository) == ()


def test_a_tokenizer_without_a_file_is_refused(tmp_path: Path, repository: Path, samples: dict[str, Family]) -> None:
    save(samples["siglip2"], tmp_path / "model")
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    refused = export(tmp_path / "model", repository)
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert embedder_folders(repository) == ()
