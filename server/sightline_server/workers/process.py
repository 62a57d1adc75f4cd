"""The parent's handle of one worker process, from its start to its end.

Rule: it is started from the main thread, because it dies with the thread that started it, and in its own process
group, so that a Ctrl-C on the terminal reaches the parent only. It gets its task on a pipe and inherits the catalogs'
files.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.process_identity import identity_of
from sightline_server.workers.task import LISTEN, SERVING, Task, failure_of, given_up_of

COMMAND = ("-P", "-m", "sightline_server.workers.worker")
"""-P: no file in the working directory is imported in place of a module of the server."""


class WorkerProcess:
    """One worker, made by `start_worker`."""

    def __init__(self, task: Task, process: asyncio.subprocess.Process, on_given_up: Callable[[str], None]) -> None:
        self.number = task.number
        self.pid = process.pid
        self.identity = identity_of(process.pid)
        """Identity of its process, valid also after its end."""
        self.serving = False
        """True while it serves."""
        self.dismissed = False
        """True once it was asked to end."""
        self.successor: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._process = process
        self._on_given_up = on_given_up
        self._warm = asyncio.Event()
        self._settled = asyncio.Event()
        self._failure: SightlineError | None = None
        self._following = asyncio.create_task(self._follow(task), name=f"worker-{task.number}")

    async def _follow(self, task: Task) -> int:
        """Sends the task, reads the outcome of the start, and waits for the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(ConnectionError):
            self._process.stdin.write(task.encode())
            await self._process.stdin.drain()
        async for line in self._process.stdout:
            if model := given_up_of(line):
                self._on_given_up(model)
                continue
            self._failure = failure_of(line)
            self.serving = line == SERVING
            self._warm.set()
            if self.serving or self._failure:
                self._settled.set()
        code = await self._process.wait()
        self.serving = False
        if not self._settled.is_set():
            self._failure = SightlineError(ErrorKind.INTERNAL, f"worker {self.number} {how(code)} while it started")
        self._warm.set()
        self._settled.set()
        return code

    async def until_warm(self) -> None:
        """Returns when it is ready to listen. Raises the `SightlineError` that the worker reports if it cannot."""
        await self._warm.wait()
        if self._failure is not None:
            raise self._failure

    def listen(self) -> None:
        """Lets a warm worker listen."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(LISTEN)

    async def until_serving(self) -> None:
        """Returns when it serves. Raises the `SightlineError` that the worker reports if it cannot."""
        await self._settled.wait()
        if self._failure is not None:
            raise self._failure

    async def ended(self) -> int:
        """Waits for its end; returns the exit code, or the negative number of the signal that ended it."""
        return await asyncio.shield(self._following)

    def dismiss(self) -> None:
        """Asks it to finish its accepted calls and to end; kills one that does not serve yet."""
        self.dismissed = True
        if self.serving:
            self._signal(signal.SIGTERM)
        else:
            self.kill()

    def hurry(self) -> None:
        """Asks it to cancel its calls now, with a final status to their callers."""
        self.dismissed = True
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Kills it."""
        self.dismissed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def start_worker(task: Task, on_given_up: Callable[[str], None]) -> WorkerProcess:
    """Starts a worker; returns before it serves. `on_given_up` gets the models that Triton has marked as unhealthy."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *COMMAND, str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=task.descriptors,
        process_group=0,
    )
    return WorkerProcess(task, process, on_given_up)


def how(code: int) -> str:
    """The end of a process with exit code `code`, as part of a sentence."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
