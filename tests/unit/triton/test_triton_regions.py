"""The names of our shared memory, and whose they are."""

import os
from pathlib import Path

import pytest

from sightline_server import owned_names
from sightline_server.process_identity import ProcessIdentity, start_time
from sightline_server.triton import regions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(regions, "FOLDER", tmp_path)
    return tmp_path


def test_a_prefix_names_the_process_and_its_start() -> None:
    assert owned_names.own_prefix() == f"sightline-{os.getpid()}-{start_time(os.getpid())}-"


@pytest.mark.parametrize("name", ["sightline-", "sightline-x-1-c0", "sightline-1", "sightline-1-1"])
def test_names_that_are_not_ours_alone_belong_to_nobody(name: str) -> None:
    assert not owned_names.owner_lives(name)


def test_orphans_are_those_of_dead_processes_and_of_reused_numbers(folder: Path) -> None:
    start = int(start_time(os.getpid()))
    kept = [f"sightline-{os.getpid()}-{start}-c0", f"sightline-{os.getpid()}-{start}-e0-uuid", "sightlines", "other"]
    orphans = [f"sightline-{os.getpid()}-{start - 1}-c0", f"sightline-{2**22 + 1}-5-e0-uuid"]
    for name in kept + orphans:
        (folder / name).touch()
    assert regions.remove_orphans() == 2
    assert sorted(os.listdir(folder)) == sorted(kept)


def test_removal_takes_one_prefix_and_not_its_longer_neighbour(folder: Path) -> None:
    for name in ("sightline-1-7-c0", "sightline-1-7-e0-x", "sightline-1-77-c0", "sightline-11-7-c0"):
        (folder / name).touch()
    assert regions.remove(owned_names.prefix_of(ProcessIdentity(1, "7"))) == 2
    assert sorted(os.listdir(folder)) == ["sightline-1-77-c0", "sightline-11-7-c0"]
