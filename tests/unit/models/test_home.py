"""The home folder: a checkout has its own, an installed package uses the user's, SIGHTLINE_HOME wins over both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_models.places import Home, HomeSource, checkout, default_repository, locate_home
from sightline_server.cli.surroundings import home_folder
from sightline_server.settings import Settings
from tests.support.engine import CHECKOUT
from tests.support.installed import copy_packages

SIGHTLINE = Path(sys.executable).with_name("sightline")
PATH = f"PATH={os.environ['PATH']}"


def sightline(*arguments: str, cwd: Path, variables: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The command in an environment of PATH and `variables` alone."""
    command = ["env", "-i", PATH, *variables, str(SIGHTLINE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def found_home(*variables: str, cwd: Path, config: Path | None = None) -> str:
    """The home that `sightline doctor` prints, and its reason."""
    options = ("--config", str(config)) if config else ()
    ran = sightline("doctor", "--json", *options, cwd=cwd, variables=variables)
    checks = {check["name"]: check["found"] for check in json.loads(ran.stdout)["checks"]}
    return str(checks["home"])


def make_checkout(root: Path, project: str = '[project]\nname = "sightline"\n') -> Path:
    """A source tree with the marks of a checkout of ours; returns the package's folder."""
    (root / "model_repository").mkdir(parents=True)
    (root / "pyproject.toml").write_text(project)
    package = root / "server" / "sightline_models"
    package.mkdir(parents=True)
    return package


def test_checkout_is_its_own_home(tmp_path: Path) -> None:
    package = make_checkout(tmp_path / "Källa [1]")
    root = tmp_path / "Källa [1]"
    assert locate_home({}, package) == Home(root / ".sightline", HomeSource.CHECKOUT)
    assert locate_home({"SIGHTLINE_HOME": ""}, package) == Home(root / ".sightline", HomeSource.CHECKOUT)
    assert default_repository(None, package) == root / "model_repository"


def test_variable_wins_over_the_checkout(tmp_path: Path) -> None:
    package = make_checkout(tmp_path)
    assert locate_home({"SIGHTLINE_HOME": "/srv/x"}, package) == Home(Path("/srv/x"), HomeSource.VARIABLE)


def test_conflict_in_the_project_file_keeps_the_home(tmp_path: Path) -> None:
    package = make_checkout(tmp_path, '[project]\nname = "sightline"\n<<<<<<< HEAD\nversion = "1"\n')
    assert checkout(package) == tmp_path


@pytest.mark.parametrize(
    "project", ["", '[project]\nname = "shop"\n', '[project]\nname = "sightline-shop"\n', '# name = "sightline"\n']
)
def test_project_of_others_is_no_checkout(project: str, tmp_path: Path) -> None:
    package = make_checkout(tmp_path, project)
    assert checkout(package) is None
    home = locate_home({}, package)
    assert home == Home(Path.home() / ".local" / "share" / "sightline", HomeSource.USER)
    assert default_repository(home.path, package) == home.path / "model_repository"


def test_wheel_inside_of_a_checkout_is_installed(tmp_path: Path) -> None:
    make_checkout(tmp_path)
    package = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "sightline_models"
    package.mkdir(parents=True)
    assert checkout(package) is None


def test_this_checkout_is_found_from_any_folder(tmp_path: Path) -> None:
    assert found_home(cwd=tmp_path) == f"{CHECKOUT}/.sightline (of the checkout that this program runs from)"


def test_doctor_says_why_the_home_is_another(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f'home = "{tmp_path}/from-file"\n')
    named = found_home(f"SIGHTLINE_HOME={tmp_path}", cwd=tmp_path)
    assert named == f"{tmp_path} (set by SIGHTLINE_HOME)"
    assert found_home(cwd=tmp_path, config=tmp_path / "a.toml") == f"{tmp_path}/from-file (from the settings)"


def test_installed_package_uses_the_folder_of_the_user(tmp_path: Path) -> None:
    packages = copy_packages(tmp_path / "site-packages")
    home = found_home(f"PYTHONPATH={packages}", f"HOME={tmp_path}", cwd=CHECKOUT)
    assert home == f"{tmp_path}/.local/share/sightline (of this user)"


def test_models_of_the_checkout_need_no_variable(tmp_path: Path) -> None:
    ran = sightline("models", "list", "--json", cwd=tmp_path)
    paths = [Path(model["path"]) for model in json.loads(ran.stdout)["models"]]
    assert {path.parents[2] for path in paths} == {CHECKOUT / "model_repository"}


def test_home_of_a_setting_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGHTLINE_HOME", raising=False)
    assert home_folder(Settings(home=Path("/srv/x"))).found == "/srv/x (from the settings)"
    assert home_folder(Settings()).found.endswith("(of the checkout that this program runs from)")
