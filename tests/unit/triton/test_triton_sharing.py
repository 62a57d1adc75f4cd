"""The division of /dev/shm: stubs first, regions for pixels from what is left."""

from pathlib import Path

import pytest

from sightline_server.embedded.command import Ports, command_line
from sightline_server.embedded.installation import Installation
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.sharing import (
    AMPLE,
    LARGE,
    LEAST,
    MIB,
    SMALL,
    Room,
    StubMemory,
    allows_region,
    check_room,
    room,
    stub_memory,
)


@pytest.mark.parametrize(("free", "memory"), [(AMPLE, LARGE), (AMPLE - 1, SMALL), (64 * MIB, SMALL), (LEAST, SMALL)])
def test_stubs_begin_with_less_where_there_is_little(free: int, memory: StubMemory) -> None:
    assert stub_memory(free) == memory


def test_two_stubs_and_a_region_fit_the_default_of_containers() -> None:
    total = 64 * MIB
    assert allows_region(8 * MIB, Room(total, total - 2 * SMALL.initial))


@pytest.mark.parametrize(
    ("total_mib", "free_mib", "size_mib", "allowed"),
    [(64, 24, 8, True), (64, 23, 8, False), (64, 0, 1, False), (512, 128, 64, True), (512, 127, 64, False)],
)
def test_regions_leave_the_stubs_room_to_grow(total_mib: int, free_mib: int, size_mib: int, allowed: bool) -> None:
    assert allows_region(size_mib * MIB, Room(total_mib * MIB, free_mib * MIB)) is allowed


def test_too_little_is_refused_with_the_numbers() -> None:
    check_room(Room(64 * MIB, LEAST))
    with pytest.raises(SightlineError, match=r"/dev/shm has 47 of 64 MiB free and the engine needs 48 \(256") as caught:
        check_room(Room(64 * MIB, LEAST - 1))
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_each_further_model_needs_more() -> None:
    assert [stub_memory(free * MIB, 3) for free in (320, 319)] == [LARGE, SMALL]
    check_room(Room(128 * MIB, 72 * MIB), 3)
    with pytest.raises(SightlineError, match=r"71 of 128 MiB free and the engine needs 72 \(320 are .*shm-size=320m"):
        check_room(Room(128 * MIB, 71 * MIB), 3)


def test_missing_shared_memory_has_no_room(tmp_path: Path) -> None:
    assert room(tmp_path / "absent") == Room(0, 0)
    assert 0 < room(tmp_path).free <= room(tmp_path).total


def test_triton_is_told_the_sizes() -> None:
    made = Installation(Path("/x"), "3.11", "/lib")
    command = command_line(made, Path("/models"), ("detector",), Ports(1, 2), "p", StubMemory(3, 5))
    assert "--backend-config=python,shm-default-byte-size=3" in command
    assert "--backend-config=python,shm-growth-byte-size=5" in command
