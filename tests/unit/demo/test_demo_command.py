"""`sightline demo` from a checkout has the sample world; an installed package asks for one."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from sightline_demo import command
from tests.support.engine import CHECKOUT
from tests.support.installed import copy_packages

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def test_checkout_has_the_showroom() -> None:
    world = command._sample_world(None)
    assert world.root == CHECKOUT / "examples" / "showroom"
    assert len(world.photos) == 25


def test_named_folder_wins_over_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"")
    (tmp_path / "feed.csv").write_text("id\n")
    assert command._sample_world(tmp_path).root == tmp_path


def test_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id\n")
    with pytest.raises(typer.BadParameter, match=r"no feed\.csv with photos/"):
        command._sample_world(tmp_path)


def test_installed_package_names_the_option_and_the_reason(tmp_path: Path) -> None:
    packages = copy_packages(tmp_path / "packages")
    ended = subprocess.run(
        [sys.executable, "-m", "sightline_client.cli", "demo"],
        env={**os.environ, "PYTHONPATH": str(packages)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert "--showroom" in ended.stderr
    assert "installed package" in ended.stderr
    assert not (tmp_path / "demo-out").exists()


def test_wheel_has_every_package_and_every_command() -> None:
    shipped = {Path(folder).name for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    commands = PROJECT["project"]["entry-points"]["sightline.commands"].values()
    assert {target.partition(".")[0] for target in commands} <= shipped
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == shipped
    sources = PROJECT["tool"]["hatch"]["build"]["dev-mode-dirs"]
    packages = {path.parent.name for source in sources for path in (CHECKOUT / source).glob("*/__init__.py")}
    assert packages | {"sightline"} == shipped
