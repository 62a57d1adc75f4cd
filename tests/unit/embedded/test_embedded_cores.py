"""The files that the models' processes lock: without a name, the same for every process that opens them, gone with the
server."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from sightline_server.embedded.cores import SharedCores


@pytest.fixture
def cores() -> Iterator[SharedCores]:
    made = SharedCores()
    yield made
    made.close()


def opened(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def test_there_is_one_for_each_core_that_may_be_used(cores: SharedCores) -> None:
    paths = cores.paths.split(":")
    assert len(set(paths)) == len(os.sched_getaffinity(0))


def test_who_opens_one_later_finds_the_locks_of_who_did_before(cores: SharedCores) -> None:
    path = cores.paths.split(":")[0]
    first, later = opened(path), opened(path)
    try:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(later, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(first)
        first = os.dup(later)
        fcntl.flock(later, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(first)
        os.close(later)


def test_closing_leaves_nothing_open(cores: SharedCores) -> None:
    paths = cores.paths.split(":")
    cores.close()
    assert not any(os.path.exists(path) and "sightline-core" in os.readlink(path) for path in paths)
    cores.close()
