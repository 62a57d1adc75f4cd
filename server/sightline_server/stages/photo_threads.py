"""The threads that decode and crop, and the memory that large photos may take in them.

Rule: a call holds its place until its thread has ended, also when its caller has left: a thread cannot be stopped, so
places that were given away early would let callers pile up work. Large photos wait for each other and leave a thread
to ordinary ones, which never wait for memory.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import TypeVar

from sightline_server.domain.image import Frame
from sightline_server.stages.decode import DecodeLimits, Prepared, prepare

T = TypeVar("T")

ORDINARY_WEIGHT = 96_000_000
"""Bytes that an ordinary photo weighs at most: 16 megapixels."""
LARGE_WEIGHT = 384_000_000
"""Bytes for all larger photos that are being decoded: 64 megapixels."""


class LargePhotos:
    """The memory and the threads that photos above `ORDINARY_WEIGHT` share, first come, first served."""

    def __init__(self, threads: int, memory: int = LARGE_WEIGHT) -> None:
        self._most = memory
        self._memory = memory
        self._threads = threads
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """Photos that wait for memory or a thread."""
        return len(self._waiting)

    @asynccontextmanager
    async def room(self, memory: int) -> AsyncIterator[None]:
        """Waits for `memory` bytes, or all there are where it is more, and holds them for the length of the block."""
        needed = min(memory, self._most)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((needed, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(needed)
            else:
                self._waiting.remove((needed, turn))
                self._admit()
            raise
        try:
            yield
        finally:
            self._give_back(needed)

    def _give_back(self, memory: int) -> None:
        self._memory += memory
        self._threads += 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._threads and self._waiting[0][0] <= self._memory:
            memory, turn = self._waiting.popleft()
            self._memory -= memory
            self._threads -= 1
            turn.set_result(None)


class PhotoThreads:
    """Runs work on photos in `executor`, which has `threads` threads."""

    def __init__(self, executor: Executor, threads: int, large: LargePhotos | None = None) -> None:
        self._executor = executor
        self.large = large or LargePhotos(max(1, threads - 1))

    async def decode(
        self, photo: bytes, limits: DecodeLimits, then: Callable[[Frame], T], on_start: Callable[[], object]
    ) -> T:
        """Decodes the photo and returns what `then` makes of its frame, both in one thread, which calls `on_start`.

        Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED.
        """

        def ordinary() -> T | Prepared:
            on_start()
            prepared = prepare(photo, limits)
            return prepared if prepared.weight > ORDINARY_WEIGHT else then(prepared.decode())

        outcome = await self.run(ordinary)
        if not isinstance(outcome, Prepared):
            return outcome
        large = outcome
        async with self.large.room(large.weight):
            return await self.run(lambda: then(large.decode()))

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns. A cancellation stops work that waits for a thread, and waits for work that has one."""
        future = self._executor.submit(work)
        running = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not future.cancel():
                await ended(running)
            raise


async def ended(running: asyncio.Future[T]) -> None:
    """Returns when `running` has ended, whatever its outcome and however often the waiting task is cancelled."""
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
