"""The bytes of the counts: in this process, or in an anonymous file that a parent and its workers map.

Rule: a lock of the shared bytes is one of the kernel (POSIX record lock), which ends with the process that holds it, so
a worker that is killed blocks nobody. A process that is frozen while it holds one makes the others wait for at most
`PATIENCE_S` in each `PAUSE_AFTER_S`.
"""

import fcntl
import mmap
import os
import time
from typing import Protocol

from sightline_server.errors import ErrorKind, SightlineError

PATIENCE_S = 0.02
"""Longest wait for a lock. It is held for microseconds; this is for a holder that the kernel has paused."""
TRIES = 10
"""Attempts without a pause, about as long as a lock is held by a process that runs."""
PAUSE_S = 0.0005
PAUSE_AFTER_S = 1.0
"""Time without waits after one that was in vain, so that a frozen holder stops the event loop for 2 % at most."""


class Memory(Protocol):
    """Bytes that are zero at first, and locks of parts of them."""

    @property
    def view(self) -> memoryview:
        """The bytes."""

    def lock(self, place: int) -> bool:
        """Locks `place`; returns False where it could not be locked in time."""

    def unlock(self, place: int) -> None:
        """Unlocks `place`."""


class OwnMemory:
    """Satisfies `Memory` for one process whose calls run in one thread, which needs no lock."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))

    def lock(self, place: int) -> bool:
        """See `Memory`."""
        return True

    def unlock(self, place: int) -> None:
        """See `Memory`."""


class SharedMemory:
    """Satisfies `Memory` for several processes that have inherited `descriptor`. One thread of each may use it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, size)
        self.view = memoryview(self._map)
        self._no_wait_until = 0.0

    @classmethod
    def create(cls, size: int) -> "SharedMemory":
        """New memory of `size` bytes. Raises `SightlineError` where no more files may be open."""
        try:
            descriptor = os.memfd_create("sightline-quotas")
            os.ftruncate(descriptor, size)
            return cls(descriptor, size)
        except OSError as error:
            message = f"cannot share quotas with workers: {error.strerror}"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error

    def lock(self, place: int) -> bool:
        """See `Memory`."""
        if any(self._try(place) for _ in range(TRIES)):
            return True
        until = time.monotonic() + PATIENCE_S
        if until < self._no_wait_until:
            return False
        while time.monotonic() < until:
            # Blocks the event loop, as the lock itself would, but not for longer than is stated above.
            time.sleep(PAUSE_S)
            if self._try(place):
                return True
        self._no_wait_until = until + PAUSE_AFTER_S
        return False

    def _try(self, place: int) -> bool:
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except BlockingIOError:
            return False
        return True

    def unlock(self, place: int) -> None:
        """See `Memory`."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Closes the file; its memory is freed when the last process that maps it has ended."""
        os.close(self.descriptor)
