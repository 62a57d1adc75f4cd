"""Users without a home, and users who may only read it: no command ends in a traceback."""

import json
import pwd
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sightline_demo import command as demo
from sightline_models import places as places_module
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import NoHomeError
from sightline_models.places import default_home, default_repository, find_home, missing_right
from sightline_models.pull import pull
from sightline_models.store import State, StoredModel
from sightline_server.app.engine import make_host
from sightline_server.cli import catalog, doctor, serve
from sightline_server.cli import engine as engine_cli
from sightline_server.cli import models as models_cli
from sightline_server.cli.loading import load
from sightline_server.domain.address import TcpAddress
from sightline_server.domain.models import ROLES
from sightline_server.embedded.installation import CPU, read_stamp, wanted_stamp, write_stamp
from sightline_server.embedded.repository import assemble
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import EngineSettings, Settings
from sightline_server.triton.config import NoEvents
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.engine import CHECKOUT
from tests.support.installed import copy_packages
from tests.support.users import let_all_read, open_folder, sightline_as_other


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """This process's user has neither HOME nor an entry in the passwd file, and Sightline is an installed package."""
    # pytest names its folder after the user, so it is made while there is one.
    tmp_path_factory.getbasetemp()

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("SIGHTLINE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(places_module, "checkout", lambda package=None: None)
    # They change the whole process, which here is that of all tests.
    for effect in ("block_hangup", "close_to_libraries", "protect"):
        monkeypatch.setattr(serve, effect, lambda: None)


@pytest.mark.usefixtures("homeless")
def test_home_that_cannot_be_found_is_none() -> None:
    assert find_home() is None
    assert find_home({"SIGHTLINE_HOME": "~/x"}) is None
    assert find_home({"SIGHTLINE_HOME": "/srv/x"}) == Path("/srv/x")
    assert load().home is None
    with pytest.raises(NoHomeError, match="SIGHTLINE_HOME"):
        default_home()
    with pytest.raises(SightlineError, match="SIGHTLINE_HOME") as caught:
        _ = load().home_folder
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("value", ["", "~/.local/share/sightline"])
def test_empty_home_is_the_usual_one(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "checkout", lambda package=None: None)
    monkeypatch.setenv("SIGHTLINE_HOME", value)
    assert load().home == find_home() == Path.home() / ".local" / "share" / "sightline"


def test_repository_needs_a_home_only_outside_of_a_checkout(tmp_path: Path) -> None:
    assert default_repository(None).name == "model_repository"
    with pytest.raises(NoHomeError):
        default_repository(None, package=tmp_path / "site-packages" / "sightline_models")


def test_engine_elsewhere_needs_no_home() -> None:
    elsewhere = Settings(home=None, engine=EngineSettings(triton_url=TcpAddress("triton", 8001)))
    assert make_host(elsewhere, NoEvents().provider, {}, ROLES).address == "triton:8001"
    with pytest.raises(SightlineError, match="SIGHTLINE_HOME"):
        make_host(Settings(home=None), NoEvents().provider, {}, ROLES)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        (engine_cli.app, ["install"]),
        (models_cli.app, ["list"]),
        (serve.app, ["--catalog", "shop", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]),
        (demo.app, ["--catalog-only", "--showroom", str(CHECKOUT / "examples" / "showroom")]),
    ],
)
def test_command_that_needs_a_home_ends_with_2_and_says_what_to_set(
    app: typer.Typer, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(tmp_path / "shop", [row("p0", unit_vectors(1))])
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "set SIGHTLINE_HOME" in ended.stderr


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("app", "arguments"),
    [
        (serve.app, ["--help"]),
        (serve.app, ["--print-config"]),
        (engine_cli.app, ["install", "--help"]),
        (catalog.app, ["build", "--help"]),
    ],
)
def test_command_that_needs_no_home_works_without(app: typer.Typer, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.mark.usefixtures("homeless")
def test_doctor_works_without_a_home() -> None:
    ended = CliRunner().invoke(doctor.app, ["--json"])
    found = {check["name"]: check["verdict"] for check in json.loads(ended.stdout)["checks"]}
    assert (ended.exit_code, found["home"]) == (1, "FAIL")


def test_models_that_are_there_need_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(repository: Path, model: object) -> StoredModel:
        return StoredModel(DEFAULT_MODELS[0], repository, State.READY, "x", "y", "y")

    monkeypatch.setattr("sightline_models.pull.inspect", ready)
    assert len(pull(tmp_path, None, lambda step: None)) == 2
    monkeypatch.undo()
    with pytest.raises(NoHomeError):
        pull(tmp_path, None, lambda step: None)


def test_other_user_without_a_home_gets_lines_and_no_traceback(tmp_path: Path) -> None:
    installed = str(copy_packages(tmp_path / "site-packages"))
    assert sightline_as_other("--help", PYTHONPATH=installed).returncode == 0
    assert "SIGHTLINE_HOME" in sightline_as_other("doctor", PYTHONPATH=installed).stdout
    assert sightline_as_other("engine", "install", PYTHONPATH=installed).returncode == 2


def test_other_user_without_a_home_uses_that_of_the_checkout() -> None:
    ran = sightline_as_other("doctor")
    assert str(CHECKOUT / ".sightline") in "".join(ran.stdout.split())


def test_other_user_finds_the_engine_installed() -> None:
    with open_folder() as home:
        (home / "engine").mkdir()
        write_stamp(home / "engine", wanted_stamp(CPU))
        let_all_read(home)
        ran = sightline_as_other("engine", "install", SIGHTLINE_HOME=str(home))
        assert (ran.returncode, ran.stdout) == (0, f"engine: up to date in {home}/engine\n")
        forced = sightline_as_other("engine", "install", "--force", SIGHTLINE_HOME=str(home))
        assert forced.returncode == 1
        assert f"this user may not write to {home}; " in forced.stderr
        assert forced.stderr.count("\n") == 1


def test_other_user_is_told_which_folder_cannot_be_written() -> None:
    with open_folder() as place:
        for command in (["engine", "install"], ["models", "pull", "--repository", f"{place}/repository"]):
            ran = sightline_as_other(*command, SIGHTLINE_HOME=f"{place}/new/home")
            assert ran.returncode == 1
            assert f"this user may not write to {place}; " in ran.stderr


def test_missing_right_names_the_nearest_folder(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied", str(tmp_path / "a" / "b"))
    assert missing_right(error).startswith(f"this user may not write to {tmp_path}; ")
    readonly = OSError(30, "Read-only file system", str(tmp_path / "a"))
    assert missing_right(readonly) == f"{tmp_path} is on a read-only file system"
    assert missing_right(PermissionError(13, "no")).startswith("this user may not write to .")


def test_stamp_and_repository_without_rights_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SightlineError, match="the engine cannot be read"):
        read_stamp(tmp_path)
    monkeypatch.setattr("sightline_server.embedded.repository.copy_missing", refuse)
    with pytest.raises(SightlineError, match="this user may not"):
        assemble(tmp_path)
