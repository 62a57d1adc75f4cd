"""Clocks that go when a test says so."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class HandClock:
    """Stands for `time.monotonic`; `now` is set by the test."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The instant that the test set."""
        return self.now


class VirtualTime:
    """A clock and a sleep for tests of waiting: time jumps to the next sleeper when nobody else has work.

    Only for code without threads and sockets, whose work ends within some turns of the event loop.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        """The virtual instant."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Returns once the clock is at least `seconds` later."""
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, wake))
        await wake

    async def run(self, work: Coroutine[object, object, T]) -> T:
        """The result of `work`; its sleeps take no real time."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(100):
                await asyncio.sleep(0)
            self._sleepers = [(at, wake) for at, wake in self._sleepers if not wake.done()]
            if not task.done() and self._sleepers:
                self.now = max(self.now, min(at for at, _ in self._sleepers))
                for at, wake in self._sleepers:
                    if at <= self.now:
                        wake.set_result(None)
        return await task
