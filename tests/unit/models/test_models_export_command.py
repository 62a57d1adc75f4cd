"""`models export` before a model is loaded: sources, options, and a machine without PyTorch."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_models.errors import ModelError
from sightline_models.export_source import ExportSource, Library, parse_source
from sightline_server.cli.models import app
from tests.support.tiny_models import build_repository

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "models.md"


@pytest.fixture(autouse=True)
def without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "timm", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return build_repository(tmp_path / "repository")


def export(repository: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments, "--repository", str(repository)])


def refusal(repository: Path, *arguments: str) -> str:
    done = export(repository, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def write_folder(path: Path, facts: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize(
    ("text", "expected", "name"),
    [
        (
            "google/siglip2-base-patch16-224",
            ExportSource(Library.TRANSFORMERS, "google/siglip2-base-patch16-224", folder=False),
            "siglip2-base-patch16-224",
        ),
        (
            "facebook/dinov2-small@ed25f3a",
            ExportSource(Library.TRANSFORMERS, "facebook/dinov2-small", folder=False, revision="ed25f3a"),
            "dinov2-small",
        ),
        ("timm:resnet50.a1_in1k", ExportSource(Library.TIMM, "resnet50.a1_in1k", folder=False), "resnet50.a1_in1k"),
        (
            "timm/fastvit_mci0.apple",
            ExportSource(Library.TIMM, "hf-hub:timm/fastvit_mci0.apple", folder=False),
            "fastvit_mci0.apple",
        ),
        ("timm:hf-hub:me/mine", ExportSource(Library.TIMM, "hf-hub:me/mine", folder=False), "mine"),
    ],
)
def test_a_source_is_read(text: str, expected: ExportSource, name: str) -> None:
    assert parse_source(text) == expected
    assert expected.model_name() == name


def test_a_folder_is_read_by_the_library_that_wrote_it(tmp_path: Path) -> None:
    for name, facts, library in (
        ("hf", {"model_type": "dinov2"}, Library.TRANSFORMERS),
        ("timm", {"architecture": "resnet50"}, Library.TIMM),
    ):
        folder = write_folder(tmp_path / name, facts)
        for text in (str(folder), f"timm:{folder}"):
            assert parse_source(text) == ExportSource(library, str(folder), folder=True)


@pytest.mark.parametrize("text", ["./missing", "/missing/folder", "a/b/c", "timm:no such model", "timm:", "~/m", ""])
def test_other_sources_are_refused(text: str) -> None:
    with pytest.raises(ModelError):
        parse_source(text)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json"):
        parse_source(str(tmp_path))
    with pytest.raises(ModelError, match="model_type"):
        parse_source(str(write_folder(tmp_path / "other", ["a list"])))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        parse_source(str(tmp_path))


@pytest.mark.parametrize(("source", "library"), [("google/siglip2", "transformers"), ("timm:resnet50", "timm")])
def test_without_pytorch_the_command_names_what_installs_it(repository: Path, source: str, library: str) -> None:
    message = refusal(repository, source, "--role", "embedder")
    assert f"torch and {library} cannot be found here" in message
    assert 'pip install "sightline[cpu,export]"' in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["m", "--role", "embedder", "--mean", "0.5"], "--mean and --std belong together"),
        (["m", "--role", "embedder", "--scale", "1"], "--mean and --std belong together"),
        (["m", "--role", "embedder", "--force"], "an embedder has none of the options"),
        (["m", "--role", "detector", "--pool", "cls"], "a detector has none of the options"),
        (["m", "--role", "embedder", "--tolerance", "0"], "must be above 0"),
        (["m", "--role", "embedder", "--size", "wide"], "--size"),
        (["m", "--role", "embedder", "--preprocess", "[]"], "is not a JSON object"),
        (["m", "--role", "embedder", "--to", "/missing/model.onnx"], "its folder is missing"),
        (["m", "--role", "detector"], "--force"),
        (["m", "--role", "detector", "--force", "--vocabulary", "[]"], "--vocabulary '[]' is not a JSON object"),
        (["timm:resnet50", "--role", "detector", "--force"], "timm has no detectors"),
        (["x" * 33, "--role", "embedder"], "give it one with --name"),
        (["m", "--role", "embedder", "--name", "a b"], "cannot be a name"),
        (["m", "--role", "detector", "--force", "--name", "yolov4-tiny-coco-416"], "choose another name"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(repository: Path, arguments: list[str], expected: str) -> None:
    assert expected in refusal(repository, *arguments)


def test_a_name_and_a_file_that_exist_are_refused(repository: Path, tmp_path: Path) -> None:
    (repository / "embedder-mine").mkdir()
    assert "is there already" in refusal(repository, "a/mine", "--role", "embedder")
    (tmp_path / "model.onnx").touch()
    to = ("--to", str(tmp_path / "model.onnx"))
    assert "is there already" in refusal(repository, "a/mine", "--role", "embedder", *to)


def documented() -> list[list[str]]:
    """The commands of the page's table of exports."""
    cells = [cell for line in PAGE.read_text(encoding="utf-8").splitlines() for cell in line.strip("| ").split(" | ")]
    return [shlex.split(cell.strip("`")) for cell in cells if cell.startswith("`") and " --role " in cell]


def test_the_commands_of_the_page_are_understood(repository: Path) -> None:
    assert len(documented()) >= 8
    for command in documented():
        force = ("--force",) if "detector" in command else ()
        assert "cannot be found here" in refusal(repository, *command, *force)
