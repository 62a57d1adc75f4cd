"""The threads that decode and crop, and the memory that large photos may take in them and in decode processes.

Rule: a call holds its slot until its thread has ended, also when the call is cancelled: a thread cannot be stopped, so
slots that were released early would let callers pile up work. Large photos, and all that Pillow decodes, go to decode
processes, which can be stopped and yield to the models: ordinary photos wait neither for their memory nor for their
time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import TypeVar

from sightline_server.domain.image import Frame
from sightline_server.stages.decode import DecodeLimits, Isolated, prepare_here
from sightline_server.stages.memory_files import fill, memory_file
from sightline_server.stages.processes.pool import DecodedPhoto, DecodeProcesses
from sightline_server.stages.uncancelled import ended

T = TypeVar("T")

ORDINARY_WEIGHT = 150_000_000
"""Bytes that an ordinary photo weighs at most: 25 megapixels of a JPEG, as phones make them."""
LARGE_WEIGHT = 384_000_000
"""Bytes for all larger photos that are being decoded: 64 megapixels."""


class LargePhotos:
    """The memory that photos above `ORDINARY_WEIGHT` share, first come, first served."""

    def __init__(self, memory: int = LARGE_WEIGHT) -> None:
        self._most = memory
        self._memory = memory
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """Photos that wait for memory."""
        return len(self._waiting)

    @asynccontextmanager
    async def room(self, memory: int) -> AsyncIterator[None]:
        """Waits for `memory` bytes, at most for the whole budget, and holds them for the length of the block."""
        needed = min(memory, self._most)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((needed, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back(needed)
            self._admit()
            raise
        try:
            yield
        finally:
            self._give_back(needed)

    def _give_back(self, memory: int) -> None:
        self._memory += memory
        self._admit()

    def _admit(self) -> None:
        # A turn is cancelled at once, and its call learns of it later; others may be admitted between.
        self._waiting = deque(waiting for waiting in self._waiting if not waiting[1].cancelled())
        while self._waiting and self._waiting[0][0] <= self._memory:
            memory, turn = self._waiting.popleft()
            self._memory -= memory
            turn.set_result(None)


class PhotoThreads:
    """Runs work on photos in `executor`, and lets `processes` decode large photos and those that only Pillow takes."""

    def __init__(self, executor: Executor, processes: DecodeProcesses) -> None:
        self._executor = executor
        self._processes = processes
        self.large = LargePhotos()

    async def decode(
        self, photo: bytes, limits: DecodeLimits, then: Callable[[Frame], T], on_start: Callable[[], object]
    ) -> T:
        """Decodes the photo and returns what `then` makes of its frame, in a thread; a thread calls `on_start`.

        Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED, or INTERNAL without a decode process.
        """

        def here() -> T | Isolated:
            on_start()
            prepared = prepare_here(photo, limits)
            if isinstance(prepared, Isolated):
                return prepared
            if prepared.weight > ORDINARY_WEIGHT:
                # With a thread of the server it would share Python's lock: all wait while a thread that has it fills
                # 200 MB of new memory, which glibc does at once (memory.py).
                return Isolated(prepared.format)
            return then(prepared.decode())

        outcome = await self.run(here)
        if not isinstance(outcome, Isolated):
            return outcome
        decoded = await self._isolated(photo, limits, outcome)
        return await self.run(lambda: then(decoded.frame()))

    async def _isolated(self, photo: bytes, limits: DecodeLimits, isolated: Isolated) -> DecodedPhoto:
        with memory_file(len(photo)) as file:
            await self.run(lambda: fill(file, photo))
            return await self._processes.decode(file, isolated.format, limits, self._room)

    @asynccontextmanager
    async def _room(self, weight: int) -> AsyncIterator[None]:
        """Room among the large photos for a large one; an ordinary one needs none."""
        if weight <= ORDINARY_WEIGHT:
            yield
            return
        async with self.large.room(weight):
            yield

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work`. Cancellation drops work that waits for a thread, and waits for work that has one."""
        future = self._executor.submit(work)
        running = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not future.cancel():
                await ended(running)
            raise
        finally:
            # Their error has the frame of this call: a circle that would keep the photo until garbage is collected.
            del future, running
