"""The bounded queue of a catalog's writer: calls that wait to be written, and calls that wait for room.

Rule: for the event loop only. A call that is cancelled while it waits leaves no trace; one that was taken is written.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sightline_server.catalog.operations import Write
from sightline_server.domain.revisions import Receipt
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.errors import ErrorKind, SightlineError

RETRY_S = 1.0


@dataclass(slots=True, eq=False)
class Entry:
    """One call. `prepare` makes its writes, on the writer's thread; `size` is about the bytes that they take."""

    prepare: Callable[[], Sequence[Write]]
    operations: int
    size: int
    request_id: str = ""
    terms: WriteTerms = PLAIN
    done: "asyncio.Future[Receipt]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Bounds:
    """At most so many operations and bytes together. One call alone may exceed them."""

    operations: int
    size: int

    def hold(self, operations: int, size: int) -> bool:
        """Returns whether so much is within the bounds."""
        return operations <= self.operations and size <= self.size


GROUP = Bounds(256, 4 * 1024 * 1024)
WAITING = Bounds(4096, 64 * 1024 * 1024)


class WriteQueue:
    """Calls in the order in which they came, within the bounds `waiting`."""

    def __init__(self, waiting: Bounds = WAITING) -> None:
        self._bounds = waiting
        self._entries: deque[Entry] = deque()
        self._operations = self._size = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._closed: Callable[[], SightlineError] | None = None
        self.filled = asyncio.Event()
        """Set while there are entries."""

    def __len__(self) -> int:
        return len(self._entries)

    async def put(self, entry: Entry, deadline: float = math.inf) -> None:
        """Adds `entry`, after those that wait for room already.

        Raises `SightlineError`: OVERLOADED when there is no room until `deadline`, an instant of the loop's clock;
        STOPPING once the queue is closed, or the error that it was closed with.
        """
        if self._room or not self._fits(entry):
            await self._wait(entry, deadline)
        if self._closed:
            raise self._closed()
        self._entries.append(entry)
        self._count(entry, 1)
        self.filled.set()
        self._wake()

    def take(self, group: Bounds = GROUP) -> list[Entry]:
        """The next calls that fit into a group together, those that were cancelled left out."""
        taken: list[Entry] = []
        operations = size = 0
        while self._entries:
            entry = self._entries[0]
            operations, size = operations + entry.operations, size + entry.size
            if taken and not group.hold(operations, size):
                break
            self._entries.popleft()
            self._count(entry, -1)
            if entry.done.cancelled():
                operations, size = operations - entry.operations, size - entry.size
            else:
                taken.append(entry)
        if not self._entries:
            self.filled.clear()
        self._wake()
        return taken

    def is_full(self, group: Bounds = GROUP) -> bool:
        """Returns whether the calls that wait fill a group."""
        return not group.hold(self._operations + 1, self._size)

    def close(self, error: Callable[[], SightlineError] | None = None) -> None:
        """Refuses calls from now on, and those that wait for room; those in the queue can still be taken.

        They are refused with what `error` returns, by default an error of kind STOPPING.
        """
        self._closed = error or stopping
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait(self, entry: Entry, deadline: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(waiter)
        try:
            while not self._closed and (self._room[0] is not waiter or not self._fits(entry)):
                if waiter.done():
                    waiter = self._renewed(waiter)
                async with asyncio.timeout_at(None if deadline == math.inf else deadline):
                    await waiter
        except TimeoutError:
            raise queue_full() from None
        finally:
            self._room.remove(waiter)
            self._wake()

    def _renewed(self, waiter: "asyncio.Future[None]") -> "asyncio.Future[None]":
        """A new future in the position of `waiter`, which was woken for less room than it needs."""
        renewed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room[self._room.index(waiter)] = renewed
        return renewed

    def _wake(self) -> None:
        """Wakes the first of those that wait for room; it wakes the next one when it has its own."""
        if self._room and not self._room[0].done():
            self._room[0].set_result(None)

    def _fits(self, entry: Entry) -> bool:
        return not self._entries or self._bounds.hold(self._operations + entry.operations, self._size + entry.size)

    def _count(self, entry: Entry, sign: int) -> None:
        self._operations += sign * entry.operations
        self._size += sign * entry.size


def queue_full() -> SightlineError:
    """The refusal of a write that found no room in time."""
    message = "too many writes are waiting for the disk of this catalog"
    return SightlineError(ErrorKind.OVERLOADED, message, retry_after_s=RETRY_S, metadata={"limit": "catalog_queue"})


def stopping() -> SightlineError:
    """The refusal of a write that came after the stop began."""
    return SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=RETRY_S)
