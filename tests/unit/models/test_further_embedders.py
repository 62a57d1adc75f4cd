"""Embedders in folders `embedder-NAME`: how they are found, compared with their declaration, checked and reported."""

import hashlib
import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from sightline_models.embedders import MOST_EMBEDDERS, embedder_folders
from sightline_models.errors import HashMismatchError, ModelError
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.store import State, inspect_embedder, model_path
from sightline_server.app.further_embedders import further_embedders
from sightline_server.cli.further_models import further_models
from sightline_server.cli.models import app
from sightline_server.domain.address import TcpAddress
from sightline_server.domain.checks import Verdict
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.embedded import model_files
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.host import EmbeddedHost
from sightline_server.errors import SightlineError
from sightline_server.settings import EngineSettings, Settings
from sightline_server.triton.config import NoEvents
from sightline_server.triton.specs import search_models
from sightline_server.triton.stored import read_stored
from sightline_server.workers.task import share_of
from tests.support.tiny_models import build_repository, declare_models, detector_model, echo_embedder, write_model

OTHER = "embedder-echo"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of tiny models with a second embedder; each of the three is declared."""
    build_repository(tmp_path)
    write_model(tmp_path, OTHER, echo_embedder(2), {"preprocess": {"resize": "squash"}}, max_batch_size=8)
    declare_models(tmp_path)
    return tmp_path


def settings_of(repository: Path, **engine: object) -> Settings:
    return Settings(home=repository / "home", engine=EngineSettings(**{"repository": repository, **engine}))  # type: ignore[arg-type]


def test_only_folders_of_the_right_name_are_embedders(tmp_path: Path) -> None:
    names = ["embedder", "embedder-b", "embedder-A.1_x", "embedder-", "embedder2", "embedder-x y", ".embedder-c"]
    for name in (*names, "embedder-" + "x" * 33, "my-embedder-d", "embedder--"):
        (tmp_path / name).mkdir()
    (tmp_path / "embedder-file").touch()
    assert embedder_folders(tmp_path) == ("embedder-A.1_x", "embedder-b")
    assert embedder_folders(tmp_path / "absent") == ()


def test_embedders_of_the_repository_are_served_unless_the_settings_name_some(repository: Path) -> None:
    assert further_embedders(settings_of(repository)) == (OTHER,)
    assert further_embedders(settings_of(repository, embedders=())) == ()
    assert further_embedders(settings_of(repository, embedders=("embedder-x", "embedder-x"))) == ("embedder-x",)


def test_a_remote_engine_serves_those_that_the_settings_name(repository: Path) -> None:
    remote = {"triton_url": TcpAddress("triton", 8001)}
    assert further_embedders(settings_of(repository, **remote)) == ()
    assert further_embedders(settings_of(repository, **remote, embedders=(OTHER,))) == (OTHER,)


def test_workers_serve_the_embedders_of_their_parent(repository: Path) -> None:
    address = TcpAddress("127.0.0.1", 1)
    share = share_of(settings_of(repository), address=address, engine=address, embedders=[OTHER])
    assert further_embedders(share) == (OTHER,)
    assert further_embedders(share_of(settings_of(repository), address=address, engine=address)) == ()


def test_more_embedders_than_are_served_are_refused(tmp_path: Path) -> None:
    for number in range(MOST_EMBEDDERS + 1):
        (tmp_path / f"embedder-{number}").mkdir()
    with pytest.raises(SightlineError, match=r"8 embedders in addition to the first .*name those to serve"):
        further_embedders(settings_of(tmp_path))


@pytest.mark.parametrize("name", ["embedder", "detector", "embedder-", "embedder-a/b", "../embedder-a"])
def test_a_setting_that_names_no_embedder_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="embedders"):
        EngineSettings(embedders=(name,))


def test_an_embedder_is_what_its_declaration_says(repository: Path) -> None:
    path = model_path(repository, OTHER)
    stored = inspect_embedder(repository, OTHER)
    assert (stored.folder, stored.name, stored.state) == (OTHER, f"tiny {OTHER}", State.CUSTOM)
    stored.require()
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(HashMismatchError, match="replace it by the declared file"):
        inspect_embedder(repository, OTHER).require()
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=f'declare it there: {{"name": "{OTHER}", "version": "1", "sha256": "'):
        inspect_embedder(repository, OTHER).require()
    path.unlink()
    with pytest.raises(ModelError, match=f"missing; .*remove {OTHER}"):
        inspect_embedder(repository, OTHER).require()


def test_a_changed_embedder_ends_the_start(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = model_path(repository, OTHER)
    roles = (DETECTOR, EMBEDDER, OTHER)
    with caplog.at_level(logging.WARNING):
        model_files.check_model_files(repository, roles)
    assert caplog.messages == []
    path.write_bytes(b"changed")
    with pytest.raises(SightlineError, match=hashlib.sha256(b"changed").hexdigest()):
        model_files.check_model_files(repository, roles)
    model_files.check_model_files(repository, (DETECTOR, EMBEDDER))
    path.with_suffix(".json").unlink()
    with caplog.at_level(logging.WARNING):
        model_files.check_model_files(repository, roles)
    assert "a damaged file would not be noticed" in caplog.text


def test_an_incomplete_folder_is_named(repository: Path) -> None:
    (repository / OTHER / "config.pbtxt").unlink()
    host = EmbeddedHost(
        EmbeddedConfig(repository, repository, roles=(DETECTOR, EMBEDDER, OTHER)),  # type: ignore[arg-type]
        NoEvents().provider,
    )
    with pytest.raises(SightlineError, match=f"no model in .*{OTHER}: .*Complete the folder or remove it"):
        host._check_repository()


def test_list_and_check_report_every_embedder(repository: Path) -> None:
    listed = CliRunner().invoke(app, ["list", "--repository", str(repository), "--json"])
    assert [each["folder"] for each in json.loads(listed.stdout)["models"]] == ["detector", "embedder", OTHER]
    checked = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert checked.exit_code == 0, checked.stderr
    assert f"{OTHER}  tiny {OTHER}  fits the contract" in checked.stdout


def test_check_refuses_what_serve_would_refuse(repository: Path) -> None:
    config = repository / OTHER / "config.pbtxt"
    config.write_text(config.read_text().replace("squash", "stretch"))
    checked = CliRunner().invoke(app, ["check", "--repository", str(repository)])
    assert checked.exit_code == 1
    assert f"model {OTHER}: `preprocess` in config.pbtxt: `resize` is 'stretch'" in checked.stderr


def add(repository: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["add", *arguments, "--repository", str(repository)])


def test_an_embedder_is_added_as_it_is_served(repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(echo_embedder(3).SerializeToString())
    added = add(repository, "mine", str(file), "--preprocess", '{"resize": "letterbox", "fill": 9}')
    assert (added.exit_code, added.stderr) == (0, "")
    assert embedder_folders(repository) == (OTHER, "embedder-mine")
    stored = inspect_embedder(repository, "embedder-mine")
    assert (stored.state, stored.name) == (State.CUSTOM, "mine")
    (model,) = (each for each in search_models(["embedder-mine"]) if each.role == "embedder-mine")
    session = onnxruntime.InferenceSession(str(stored.path))
    config = repository / "embedder-mine" / "config.pbtxt"
    spec = read_stored(model, config, session.get_inputs(), session.get_outputs())
    assert (spec.name, spec.dimension, spec.max_batch_size) == ("mine", 27, 64)
    assert spec.preprocess.facts()["resize"] == "letterbox"
    assert not list(repository.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a/b", "FILE"), "'a/b' cannot be a name"),
        (("echo", "FILE"), "embedder-echo is there already"),
        (("mine", "absent.onnx"), "no such file: absent.onnx"),
        (("mine", "FILE", "--preprocess", "[]"), "is not a JSON object"),
        (("mine", "FILE", "--preprocess", '{"resize": "stretch"}'), "`resize` is 'stretch'"),
        (("mine", "DETECTOR"), "DETECTOR: must have the one input CROPS"),
        (("mine", "DAMAGED"), "DAMAGED: ONNX Runtime cannot load it"),
    ],
)
def test_an_embedder_that_would_be_refused_is_not_added(
    repository: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    files = {"FILE": echo_embedder(3).SerializeToString(), "DETECTOR": detector_model().SerializeToString()}
    files["DAMAGED"] = files["FILE"][:100]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    added = add(repository, *(str(tmp_path / each) if each in files else each for each in arguments))
    assert added.exit_code == 1
    assert message in added.stderr
    assert embedder_folders(repository) == (OTHER,)
    assert not list(repository.glob(".*"))


def test_doctor_reports_every_embedder(repository: Path) -> None:
    settings = settings_of(repository)
    (finding,) = further_models(settings)
    assert (finding.name, finding.verdict) == (OTHER, Verdict.OK)
    path = model_path(repository, OTHER)
    path.with_suffix(".json").unlink()
    assert [each.verdict for each in further_models(settings)] == [Verdict.WARN]
    path.unlink()
    assert [each.verdict for each in further_models(settings)] == [Verdict.FAIL]
    (repository / OTHER / "config.pbtxt").unlink()
    (finding,) = further_models(settings)
    assert (finding.verdict, "config.pbtxt" in finding.found) == (Verdict.FAIL, True)
    assert list(further_models(settings_of(repository, triton_url=TcpAddress("triton", 8001)))) == []
