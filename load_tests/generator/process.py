"""The generator: a separate process that sends calls on a schedule and returns their outcomes.

Rule: it reports its own CPU seconds and lateness. On a machine of two cores it shares them with the server, so it is a
separate process with a higher priority where the system allows it (`priority` says which it got): without one, its
lateness on a saturated machine is that of the run queue.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from load_tests.generator.caller import Caller
from load_tests.generator.playing import serve
from load_tests.generator.records import Run
from load_tests.generator.tasks import Abandonment, ClosedLoop, Due, OpenLoop

WOUND_UP_S = 30.0


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
        """True if `finish` would return at once."""
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
