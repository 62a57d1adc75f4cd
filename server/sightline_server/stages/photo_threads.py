"""The threads that decode and crop, and the memory that large photos may take in them and in decode processes.

Rule: a call holds its slot until its thread has ended, also when the call is cancelled: a thread cannot be stopped, so
slots that were released early would let callers pile up work. Large photos wait for each other and have separate
threads, which yield to the models: ordinary photos wait neither for their memory nor for their time. Pillow runs in
decode processes, which can be stopped.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from sightline_server.domain.image import Frame
from sightline_server.stages.decode import DecodeLimits, Isolated, Prepared, prepare_here
from sightline_server.stages.processes.memory_files import fill, memory_file
from sightline_server.stages.processes.pool import DecodedPhoto, DecodeProcesses
from sightline_server.stages.uncancelled import ended

T = TypeVar("T")

ORDINARY_WEIGHT = 96_000_000
"""Bytes that an ordinary photo weighs at most: 16 megapixels."""
LARGE_WEIGHT = 384_000_000
"""Bytes for all larger photos that are being decoded: 64 megapixels."""
NICER_BY = 10
"""Of threads that decode large photos. The models are nicer by 5 than the event loop, so a large photo gets a quarter
of a core that a model wants, and all of an idle one: other work hardly waits for it, and it is not starved."""


def large_photo_threads(count: int) -> ThreadPoolExecutor:
    """Threads for large photos, which yield to all others of the server and to the models."""
    return ThreadPoolExecutor(count, thread_name_prefix="large-photos", initializer=yield_to_others)


def yield_to_others() -> None:
    """Lowers the priority of this thread alone; on Linux each thread has its own."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY)


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
        self._threads += 1
        self._admit()

    def _admit(self) -> None:
        # A turn is cancelled at once, and its call learns of it later; others may be admitted between.
        self._waiting = deque(waiting for waiting in self._waiting if not waiting[1].cancelled())
        while self._waiting and self._threads and self._waiting[0][0] <= self._memory:
            memory, turn = self._waiting.popleft()
            self._memory -= memory
            self._threads -= 1
            turn.set_result(None)


class PhotoThreads:
    """Runs work on photos in `executor`, and decodes large ones in `for_large`, which has `large_threads` threads.

    Photos that only Pillow decodes go to `processes`.
    """

    def __init__(self, executor: Executor, for_large: Executor, large_threads: int, processes: DecodeProcesses) -> None:
        self._executor = executor
        self._for_large = for_large
        self._processes = processes
        self.large = LargePhotos(large_threads)

    async def decode(
        self, photo: bytes, limits: DecodeLimits, then: Callable[[Frame], T], on_start: Callable[[], object]
    ) -> T:
        """Decodes the photo and returns what `then` makes of its frame, in one thread, which calls `on_start`.

        Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED, or INTERNAL without a decode process.
        """

        def ordinary() -> T | Prepared | Isolated:
            on_start()
            prepared = prepare_here(photo, limits)
            if isinstance(prepared, Isolated) or prepared.weight > ORDINARY_WEIGHT:
                return prepared
            return then(prepared.decode())

        outcome = await self.run(ordinary)
        if isinstance(outcome, Isolated):
            decoded = await self._isolated(photo, limits, outcome)
            return await self.run(lambda: then(decoded.frame()))
        if not isinstance(outcome, Prepared):
            return outcome
        large = outcome
        async with self.large.room(large.weight):
            return await run_in(self._for_large, lambda: then(large.decode()))

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
        return await run_in(self._executor, work)


async def run_in(executor: Executor, work: Callable[[], T]) -> T:
    """Runs `work`. Cancellation drops work that waits for a thread, and waits for work that has one."""
    future = executor.submit(work)
    running = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not future.cancel():
            await ended(running)
        raise
