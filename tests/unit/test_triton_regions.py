"""The names of our shared memory, and whose they are."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.triton import regions


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(regions, "FOLDER", tmp_path)
    return tmp_path


def test_a_prefix_names_the_process_and_its_start() -> None:
    start = regions.start_time(os.getpid())
    assert start.isdigit()
    assert regions.own_prefix() == f"sightline-{os.getpid()}-{start}-"


def test_a_process_that_is_not_there_has_no_start() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert regions.start_time(gone.pid) == ""


@pytest.mark.parametrize("name", ["sightline-", "sightline-x-1-c0", "sightline-1", "sightline-1-1"])
def test_names_that_are_not_ours_alone_belong_to_nobody(name: str) -> None:
    assert not regions.owner_lives(name)


def test_orphans_are_those_of_dead_processes_and_of_reused_numbers(folder: Path) -> None:
    start = int(regions.start_time(os.getpid()))
    kept = [f"sightline-{os.getpid()}-{start}-c0", f"sightline-{os.getpid()}-{start}-e0-uuid", "sightlines", "other"]
    orphans = [f"sightline-{os.getpid()}-{start - 1}-c0", f"sightline-{2**22 + 1}-5-e0-uuid"]
    for name in kept + orphans:
        (folder / name).touch()
    assert regions.remove_orphans() == 2
    assert sorted(os.listdir(folder)) == sorted(kept)


def test_removal_takes_one_prefix_and_not_its_longer_neighbour(folder: Path) -> None:
    for name in ("sightline-1-7-c0", "sightline-1-7-e0-x", "sightline-1-77-c0", "sightline-11-7-c0"):
        (folder / name).touch()
    assert regions.remove(regions.prefix_of(1, "7")) == 2
    assert sorted(os.listdir(folder)) == ["sightline-1-77-c0", "sightline-11-7-c0"]


def test_a_process_name_with_brackets_and_blanks_does_not_shift_the_fields(tmp_path: Path) -> None:
    odd = tmp_path / "a) b (c"
    odd.write_bytes(Path("/bin/sleep").read_bytes())
    odd.chmod(0o755)
    process = subprocess.Popen([str(odd), "60"])
    try:
        fields = regions.stat_fields(process.pid)
        assert fields[0] in "RSD"
        assert fields[1] == str(os.getpid())
        assert int(fields[19]) >= int(regions.start_time(os.getpid()))
    finally:
        process.kill()
        process.wait()


def test_a_lack_of_descriptors_does_not_mean_that_a_process_is_gone() -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            regions.stat_fields(os.getpid())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
