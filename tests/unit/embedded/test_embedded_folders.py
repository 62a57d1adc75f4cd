"""Recognition of our engine's folder in /tmp: only one that no other process can have made."""

import os
import subprocess
from pathlib import Path

import pytest

from sightline_server import owned_names
from sightline_server.embedded import folders
from sightline_server.process_identity import identity_of


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "FOLDER", tmp_path)
    return tmp_path


def make(place: Path, *names: str) -> list[Path]:
    made = [place / name for name in names]
    for path in made:
        path.mkdir(mode=0o700)
    return made


def test_the_one_that_appeared_is_marked_and_removed(place: Path) -> None:
    (old,) = make(place, "python_env_old000")
    before = folders.present()
    (new,) = make(place, "python_env_new000")
    assert folders.mark(before) == new
    assert [path.name for path in new.iterdir()] == [f"{owned_names.own_prefix()}engine"]
    folders.remove_of(owned_names.own_prefix())
    assert (old.exists(), new.exists()) == (True, False)


def test_of_two_that_appeared_neither_is_taken(place: Path) -> None:
    made = make(place, "python_env_one000", "python_env_two000")
    assert folders.mark(set()) is None
    assert all(not list(path.iterdir()) for path in made)


def test_what_another_of_ours_has_marked_is_not_taken(place: Path) -> None:
    make(place, "python_env_one000")
    first = folders.mark(set())
    (second,) = make(place, "python_env_two000")
    assert first != second
    assert folders.mark(set()) == second


def test_a_folder_with_something_in_it_stays(place: Path) -> None:
    (path,) = make(place, "python_env_one000")
    folders.mark(set())
    (path / "environment").mkdir()
    folders.remove(path)
    assert (path / "environment").exists()


@pytest.mark.parametrize("name", ["python_env_file", "else"])
def test_what_is_no_folder_of_tritons_is_never_touched(place: Path, name: str) -> None:
    (place / name).write_text("x") if name == "python_env_file" else make(place, name)
    assert folders.present() == set()


def test_orphans_are_removed_and_those_of_the_living_are_not(place: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead_prefix = owned_names.prefix_of(identity_of(dead.pid))
    dead.wait()
    orphan, mine, unmarked = make(place, "python_env_dead00", "python_env_mine00", "python_env_none00")
    (orphan / f"{dead_prefix}engine").touch()
    (mine / f"{owned_names.own_prefix()}engine").touch()
    folders.remove_orphans()
    assert [path.exists() for path in (orphan, mine, unmarked)] == [False, True, True]
    assert os.getpid()
