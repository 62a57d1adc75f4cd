"""The division of `/dev/shm` between the stubs, which need it, and regions for pixels, which only save copies.

Rule: a stub that finds no memory for an answer must end and is replaced, and a call without a region goes over gRPC; so
regions are made only while the stubs keep room to grow. Containers have 64 MiB unless they are given more: there the
stubs begin with less. Sizes are in bytes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions

MIB = 1 << 20
AMPLE = 256 * MIB
"""From this size on the stubs of two models begin with what the largest batches need."""
LEAST = 48 * MIB
"""Bytes that two default models with their largest batches take without regions, rounded up.

See docs/operate/environment.md."""
MODELS = 2
"""Models of a server with one embedder."""


@dataclass(frozen=True, slots=True)
class StubMemory:
    """The shared memory of one stub."""

    initial: int
    """The bytes that a stub begins with."""
    growth: int
    """The bytes that a stub adds at a time when a batch needs more."""


LARGE = StubMemory(64 * MIB, 64 * MIB)
SMALL = StubMemory(16 * MIB, 4 * MIB)


@dataclass(frozen=True, slots=True)
class Room:
    """The state of the shared memory's file system."""

    total: int
    free: int


def room(folder: Path = regions.FOLDER) -> Room:
    """The size of `/dev/shm` and what is free in it; nothing where it is missing."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return Room(0, 0)
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def ample(models: int = MODELS) -> int:
    """The bytes from which on the stubs of so many models begin with what the largest batches need."""
    return AMPLE + (models - MODELS) * LARGE.initial


def least(models: int = MODELS) -> int:
    """The bytes without which so many models cannot run."""
    return LEAST * models // MODELS


def stub_memory(free: int, models: int = MODELS) -> StubMemory:
    """The bytes of each stub of so many models where `free` bytes are left."""
    return LARGE if free >= ample(models) else SMALL


def allows_region(size: int, found: Room) -> bool:
    """Returns whether a region of `size` leaves the stubs room to grow."""
    return found.free - size >= stub_memory(found.total).initial


def check_room(found: Room, models: int = MODELS) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where the embedded engine cannot run so many models."""
    if found.free < least(models):
        wanted = ample(models) // MIB
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{regions.FOLDER} has {found.free // MIB} of {found.total // MIB} MiB free and the engine needs "
            f"{least(models) // MIB} ({wanted} are recommended): free some, or enlarge it (containers: "
            f"--shm-size={wanted}m)",
        )
