"""Keeps N workers: starts them, restarts those that end, replaces them one by one, stops them all.

    hired -> serves -> ended -> hired again, at once when it was asked to end, else after a wait that grows
Rule: workers do not affect each other; each number has its own task that supervises it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, Self, TypeVar

from sightline_server.errors import SightlineError
from sightline_server.telemetry.metrics import Metrics
from sightline_server.workers.process import how

log = logging.getLogger(__name__)

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds to wait before the first, second, ... restart after an unrequested end; the last one repeats."""
SOUND_S = 60.0
"""A worker that has served so long starts again without a wait."""
MORE_THAN_GRACE_S = 5.0
"""Seconds beyond the grace of its calls that a worker may take to end by itself."""
LAST_WORDS_S = 2.0
"""Seconds that a worker may take to notify its callers and to end, when its calls are not waited for."""


class Worker(Protocol):
    """A worker as its crew uses it; `WorkerProcess` is one."""

    @property
    def number(self) -> int:
        """Its number in the crew."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def serving(self) -> bool:
        """True while it serves."""

    @property
    def dismissed(self) -> bool:
        """True once it was asked to end."""

    @property
    def successor(self) -> asyncio.Future[Self]:
        """The worker of the same number that follows it."""

    async def until_warm(self) -> None:
        """Returns when it could listen. Raises `SightlineError` when it cannot serve."""

    def listen(self) -> None:
        """Lets a warm worker listen."""

    async def until_serving(self) -> None:
        """Returns when it serves. Raises `SightlineError` when it cannot."""

    async def ended(self) -> int:
        """Waits for its end; the exit code, or the negative number of the signal that ended it."""

    def dismiss(self) -> None:
        """Asks it to finish what it has accepted and to end."""

    def hurry(self) -> None:
        """Asks it to end its calls now."""

    def kill(self) -> None:
        """Ends it now."""


WorkerT = TypeVar("WorkerT", bound=Worker)
Hire = Callable[[int], Awaitable[WorkerT]]
Tidy = Callable[[WorkerT], Awaitable[None]]


class Crew(Generic[WorkerT]):
    """The workers 1..count. `hire` starts one, `tidy` cleans up after one that has ended, however that came."""

    def __init__(self, count: int, hire: Hire[WorkerT], tidy: Tidy[WorkerT], metrics: Metrics) -> None:
        self._numbers = range(1, count + 1)
        self._hire = hire
        self._tidy = tidy
        self._metrics = metrics
        self._workers: dict[int, WorkerT] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._all_warm = asyncio.Event()
        self._complete = False
        self._stopping = asyncio.Event()
        self._replacing = asyncio.Lock()
        metrics.workers_wanted.set(count)

    @property
    def workers(self) -> list[WorkerT]:
        """The present workers."""
        return list(self._workers.values())

    async def start(self) -> None:
        """Returns when every worker serves. Raises `SightlineError` when one cannot; `stop` is still to be called.

        They begin to listen at once, or the first one would get the connections of all waiting clients.
        """
        for number in self._numbers:
            self._workers[number] = await self._hire(number)
        self._keepers = [asyncio.create_task(self._keep(number), name=f"keep-{number}") for number in self._numbers]
        await asyncio.gather(*(worker.until_warm() for worker in self.workers))
        self._all_warm.set()
        await asyncio.gather(*(worker.until_serving() for worker in self.workers))
        self._complete = True

    async def _keep(self, number: int) -> None:
        failures = 0
        while True:
            worker = self._workers[number]
            seconds = await self._attend(worker)
            await self._tidy(worker)
            if self._stopping.is_set() or not self._complete:
                worker.successor.cancel()
                return
            if not worker.dismissed:
                failures = 1 if seconds >= SOUND_S else failures + 1
                self._metrics.worker_restarts.inc()
                await self._pause(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
            if self._stopping.is_set():
                worker.successor.cancel()
                return
            successor = await self._hire(number)
            self._workers[number] = successor
            worker.successor.set_result(successor)
            if self._stopping.is_set():
                successor.kill()

    async def _attend(self, worker: WorkerT) -> float:
        """Supervises a worker until its end; returns the seconds for which it served."""
        seconds = 0.0
        try:
            await worker.until_warm()
            await self._all_warm.wait()
            worker.listen()
            await worker.until_serving()
            self._count()
            log.info("worker %d serves, process %d", worker.number, worker.pid)
            began = asyncio.get_running_loop().time()
            code = await worker.ended()
            seconds = asyncio.get_running_loop().time() - began
        except SightlineError as error:
            log.error("worker %d: %s", worker.number, error.message)
            code = await worker.ended()
        self._count()
        log.log(logging.INFO if worker.dismissed else logging.ERROR, "worker %d %s", worker.number, how(code))
        return seconds

    def _count(self) -> None:
        self._metrics.workers.set(sum(worker.serving for worker in self.workers))

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def replace(self) -> None:
        """Replaces every worker, one after the other, each when the one before it serves.

        Stops at the first that cannot be replaced; the others stay as they are. Raises its `SightlineError`.
        """
        async with self._replacing:
            for number in self._numbers:
                old = self._workers[number]
                old.dismiss()
                # Shielded: a caller that stops waiting must not take the successor from the task that keeps the worker.
                successor = await asyncio.shield(old.successor)
                await successor.until_serving()

    async def stop(self, grace_s: float) -> None:
        """Lets every worker finish the calls that it has accepted, for at most `grace_s`.

        Cancelled, it ends the calls, and kills the workers that take longer than `LAST_WORDS_S` for it.
        """
        self._stopping.set()
        self._all_warm.set()
        for worker in self.workers:
            worker.dismiss()
        try:
            if self._keepers:
                await asyncio.wait(self._keepers, timeout=grace_s + MORE_THAN_GRACE_S)
        except asyncio.CancelledError:
            for worker in self.workers:
                worker.hurry()
            if self._keepers:
                await asyncio.wait(self._keepers, timeout=LAST_WORDS_S)
            raise
        finally:
            for worker in self.workers:
                worker.kill()
            await asyncio.gather(*(worker.ended() for worker in self.workers))
            await asyncio.gather(*self._keepers, return_exceptions=True)
