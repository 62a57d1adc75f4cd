"""The generator: a process of its own that sends calls on a schedule and returns what became of them.

Rule: it reports its own CPU seconds and lateness. On a machine of two cores it shares them with the server, so it is a
process of its own with a higher priority where the system allows it (`priority` says which it got): without one, its
lateness on a saturated machine is that of the run queue.
"""

import asyncio
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from load_tests.caller import PATIENT, Caller, Manner
from load_tests.records import LEFT, Run, to_run

NICE = -10
BACK_OFF_S = 0.1
"""What a caller of a closed loop waits after a refusal; a tenth of what the server asks for."""
WOUND_UP_S = 30.0


@dataclass(frozen=True, slots=True)
class Due:
    """One call of a schedule: seconds from the start, which request, and how its caller behaves."""

    at: float
    request: int
    manner: Manner = PATIENT


@dataclass(frozen=True, slots=True)
class Moment:
    """When a caller leaves: at most `within_s` after the event `after` ("" is its start); one of `weight` callers."""

    after: str
    within_s: float
    weight: float

    def draw(self, source: random.Random) -> Manner:
        """A caller who leaves then."""
        return Manner(leave_after=self.after, leave_s=source.uniform(0.0, self.within_s))


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Calls that start when they are due, whatever the server does."""

    calls: Sequence[Due]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`callers` calls under way for `seconds`, over the first `requests` requests in turn."""

    callers: int
    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Abandonment:
    """`callers` who call and leave until `calls` calls were left; others that ended before do not count."""

    callers: int
    calls: int
    requests: int
    moments: Sequence[Moment]
    seed: int


class Generator:
    """A generator process as a context manager; one at a time uses it.

    `caller` makes what speaks to `target`; it must be picklable.
    """

    def __init__(
        self,
        target: str,
        requests: Sequence[bytes],
        *,
        connections: int = 8,
        deadline_s: float = 2.0,
        caller: Callable[..., Caller] = Caller,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        made = partial(caller, target, list(requests), connections=connections, deadline_s=deadline_s)
        self._process = context.Process(target=serve, args=(theirs, made), daemon=True)
        self._requests = len(requests)
        self.priority = ""

    def __enter__(self) -> Self:
        self._process.start()
        self.priority = self._answer(60.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.is_alive() and error is None:
            self._pipe.send(None)
            self._process.join(10.0)
        self._process.kill()
        self._process.join()

    @property
    def pid(self) -> int:
        """The generator's process id."""
        assert self._process.pid is not None
        return self._process.pid

    def open_loop(self, arrivals: Iterable[float]) -> Run:
        """Starts a call at each of `arrivals`, over the requests in turn, and waits for all."""
        return self.play([Due(at, place % self._requests) for place, at in enumerate(arrivals)])

    def play(self, calls: Sequence[Due]) -> Run:
        """Starts each call when it is due and waits for all."""
        self.start(calls)
        return self.finish(calls[-1].at if calls else 0.0)

    def start(self, calls: Sequence[Due]) -> None:
        """Begins to play `calls`; `finish` waits."""
        self._pipe.send(OpenLoop(calls))

    def finish(self, lasts_s: float) -> Run:
        """Waits for what `start` began, which lasts about `lasts_s`."""
        run: Run = self._answer(lasts_s + WOUND_UP_S)
        return run

    @property
    def finished(self) -> bool:
        """Whether `finish` would return at once."""
        return self._pipe.poll(0)

    def closed_loop(self, *, callers: int, seconds: float, requests: int = 0) -> Run:
        """Keeps `callers` calls under way for `seconds`: the most that the server can do, not its latency.

        Takes the first `requests` requests in turn, all for 0.
        """
        self._pipe.send(ClosedLoop(callers, seconds, requests or self._requests))
        run: Run = self._answer(seconds + WOUND_UP_S)
        return run

    def abandon(self, task: Abandonment, *, at_least_per_s: float = 10.0) -> Run:
        """Plays `task`; at fewer calls a second than `at_least_per_s` it counts as stuck."""
        self._pipe.send(task)
        run: Run = self._answer(task.calls / at_least_per_s + WOUND_UP_S)
        return run

    def _answer(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise TimeoutError(f"the generator did not answer within {timeout_s:.0f} s")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def serve(pipe: Connection, make: Callable[[], Caller]) -> None:
    """The generator's process: plays what comes through the pipe until None comes."""
    priority = raise_priority()
    Thread(target=end_with_parent, name="parent", daemon=True).start()
    asyncio.run(play_all(pipe, make, priority))


def end_with_parent() -> None:
    """Ends this process when the one that started it has ended, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def play_all(pipe: Connection, make: Callable[[], Caller], priority: str) -> None:
    caller = make()
    try:
        await asyncio.wait_for(caller.connect(), 30.0)
        pipe.send(priority)
        while (task := await asyncio.to_thread(pipe.recv)) is not None:
            begun = time.process_time()
            caller.begin()
            if isinstance(task, ClosedLoop):
                await play_closed(caller, task)
            elif isinstance(task, Abandonment):
                await play_abandonment(caller, task)
            else:
                await play_open(caller, task)
            pipe.send(to_run(caller.rows, seconds=caller.now, cpu_s=time.process_time() - begun))
    except Exception as error:  # the other side raises it
        pipe.send(RuntimeError(f"generator: {type(error).__name__}: {error}"))
    finally:
        await caller.close()


def raise_priority() -> str:
    """Asks for the right to run as soon as there is something to do; returns what was given, for the report.

    The round-robin class, before any thread is made, so that gRPC's threads are in it too; else a nice value, and that
    of the session with it, because Linux shares the cores among sessions first (autogroups).
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        return "SCHED_RR"
    with suppress(OSError):
        os.setsid()
        Path("/proc/self/autogroup").write_text(str(NICE))
        os.nice(NICE)
    return f"nice {os.nice(0)}"


async def play_open(caller: Caller, task: OpenLoop) -> None:
    calls: set[asyncio.Task[str]] = set()
    for place, due in enumerate(task.calls):
        if (wait := due.at - caller.now) > 0:
            await asyncio.sleep(wait)
        call = asyncio.create_task(caller.call(place, due.request, due.at, due.manner))
        calls.add(call)
        call.add_done_callback(calls.discard)
    while calls:
        await asyncio.wait(set(calls))


async def play_closed(caller: Caller, task: ClosedLoop) -> None:
    places = iter(range(10**9))
    # Callers that start together would stay together, and the server's batches would be those of a convoy.
    source = random.Random(0)

    async def one() -> None:
        await asyncio.sleep(source.uniform(0.0, 0.2))
        while caller.now < task.seconds:
            place = next(places)
            if await caller.call(place, place % task.requests, caller.now) != "OK":
                await asyncio.sleep(BACK_OFF_S)

    await asyncio.gather(*(one() for _ in range(task.callers)))


async def play_abandonment(caller: Caller, task: Abandonment) -> None:
    source = random.Random(task.seed)
    weights = [moment.weight for moment in task.moments]
    left = 0

    async def one() -> None:
        nonlocal left
        while left < task.calls:
            moment = source.choices(task.moments, weights)[0]
            code = await caller.call(
                source.randrange(10**6), source.randrange(task.requests), caller.now, moment.draw(source)
            )
            left += code == LEFT
            if code not in (LEFT, "OK"):
                await asyncio.sleep(BACK_OFF_S)

    await asyncio.gather(*(one() for _ in range(task.callers)))
