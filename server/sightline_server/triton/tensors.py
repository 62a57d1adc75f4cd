"""Shared memory for pixels on their way to a Triton on the same host.

A region is a file in `/dev/shm` that Triton maps when it is registered. The file is unlinked right after, so that its
pixels are never in a named file: whichever process is killed, nothing stays behind. Rule: a region is overwritten when
it is released, and used again only after Triton itself has ended the call that read it. A server without work holds no
region: `tidy` unmaps what no call has needed for some seconds, on both sides.
"""

import mmap
import os
import time
from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sightline_server import owned_names
from sightline_server.ports import Clock
from sightline_server.triton import regions, sharing
from sightline_server.triton.leaving import Leaving
from sightline_server.triton.ports import RegionRegistry

SMALLEST_BYTES = 1 << 20
KEPT_IDLE_S = 10.0
REGISTER_TIMEOUT_S = 5.0

numbers = count()


class Region:
    """A mapped piece of shared memory that Triton knows by `name`."""

    def __init__(self, name: str, memory: mmap.mmap) -> None:
        """Use `RegionPool.acquire`."""
        self.name = name
        self.size = len(memory)
        self._memory = memory
        self._view: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        self._used = 0
        self.idle_since = 0.0
        """The instant of the pool's clock at which it was released last."""

    def fill(self, parts: Sequence[NDArray[np.uint8]]) -> int:
        """Copies equal-shaped parts one after the other to the region's start; returns the bytes used."""
        self._used = sum(part.nbytes for part in parts)
        slots = self._view[: self._used].reshape(len(parts), *parts[0].shape)
        for slot, part in zip(slots, parts, strict=True):
            np.copyto(slot, part)
        return self._used

    def wipe(self) -> None:
        """Overwrites the bytes that were filled."""
        self._view[: self._used] = 0
        self._used = 0

    def close(self) -> None:
        """Overwrites and unmaps."""
        self.wipe()
        del self._view
        self._memory.close()


class RegionPool:
    """The regions of one connection to one engine."""

    def __init__(self, client: RegionRegistry, max_bytes: int, clock: Clock = time.monotonic) -> None:
        """At most `max_bytes` are mapped at a time; beyond, `acquire` gives None."""
        self._client = client
        self._max_bytes = max_bytes
        self._clock = clock
        self._mapped = 0
        self._free: list[Region] = []
        self._leaving = Leaving(client)
        self._closed = False

    @property
    def mapped_bytes(self) -> int:
        """Bytes of all regions, free or in use."""
        return self._mapped

    async def acquire(self, size: int) -> Region | None:
        """A region of at least `size` bytes for one call; None where shared memory has no room for it."""
        fitting = [region for region in self._free if region.size >= size]
        if fitting:
            # Of equal ones the most recently used, so that the extra regions of a burst become idle when it is over.
            region = min(fitting, key=lambda candidate: (candidate.size, -candidate.idle_since))
            self._free.remove(region)
            return region
        whole = max(SMALLEST_BYTES, 1 << (size - 1).bit_length())
        if self._mapped + whole > self._max_bytes:
            await self._drop_free()
        if self._closed or self._mapped + whole > self._max_bytes or not sharing.allows_region(whole, sharing.room()):
            return None
        self._mapped += whole
        name = f"{owned_names.own_prefix()}c{next(numbers)}"
        try:
            return await create_region(self._client, name, whole)
        except BaseException as error:
            self._mapped -= whole
            if isinstance(error, OSError):
                return None
            # Triton may have registered it without an answer.
            self._leaving.add(name)
            raise

    def release(self, region: Region) -> None:
        """Returns a region to the pool after its call has ended in Triton."""
        region.wipe()
        if self._closed:
            self.discard(region)
        else:
            region.idle_since = self._clock()
            self._free.append(region)

    def discard(self, region: Region) -> None:
        """Abandons a region, also one that Triton may still be reading: it is overwritten here and never used again."""
        self._mapped -= region.size
        self._leaving.add(region.name)
        region.close()

    async def tidy(self) -> None:
        """Discards the regions that no call has needed for `KEPT_IDLE_S`, so that those of a burst do not stay."""
        latest = self._clock() - KEPT_IDLE_S
        idle = [region for region in self._free if region.idle_since <= latest]
        self._free = [region for region in self._free if region.idle_since > latest]
        for region in idle:
            self.discard(region)
        await self._leaving.ask()

    def forget_others(self, prefix: str) -> None:
        """Makes the next `tidy` unmap the regions of another process that has ended, by their names' `prefix`."""
        self._leaving.add_others(prefix)

    async def _drop_free(self) -> None:
        while self._free:
            self.discard(self._free.pop())
        await self._leaving.ask()

    async def close(self) -> None:
        """Overwrites and unmaps all free regions; those in use follow when they are released."""
        self._closed = True
        await self._drop_free()


async def create_region(client: RegionRegistry, name: str, size: int) -> Region:
    """Makes, registers and unlinks a region. Raises `OSError` when `/dev/shm` is full, `EngineError` for Triton's."""
    path = regions.FOLDER / name
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        # Without reserved pages a full /dev/shm would kill the server with SIGBUS at the first write.
        os.posix_fallocate(descriptor, 0, size)
        memory = mmap.mmap(descriptor, size)
        await client.register(name, size, REGISTER_TIMEOUT_S)
    finally:
        os.close(descriptor)
        regions.unlink(path)
    return Region(name, memory)
