"""One operation: its name, its state, its progress, and its outcome."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.jobs.progress import Progress, Tracker

log = logging.getLogger(__name__)


class JobKind(Enum):
    """The kinds of operations."""

    IMPORT = "import"
    EXPORT = "export"
    REEMBEDDING = "reembedding"


class JobState(Enum):
    """The states of an operation; all but the first are final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of an operation: products and images, and the revision that was made or written.

    A reembedding also has the products that were embedded before, and those that it left out.
    """

    products: int
    images: int = 0
    revision: str = ""
    revision_number: int = 0
    reused: int = 0
    left_out: int = 0


Work = Callable[[Tracker], Awaitable[JobResult]]
"""The operation itself. It may be cancelled at any `await`, and then leaves nothing half done."""


class Job:
    """One operation of `catalog` that runs in a task of the event loop. Only `Jobs` makes one."""

    def __init__(self, job_id: str, kind: JobKind, catalog: str, work: Work, clock: Callable[[], datetime]) -> None:
        self.id = job_id
        self.kind = kind
        self.catalog = catalog
        self.created_at = clock()
        self.ended_at: datetime | None = None
        self.result: JobResult | None = None
        self.error: SightlineError | None = None
        self.state = JobState.RUNNING
        self._tracker = Tracker()
        self._clock = clock
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._run(work), name=f"{kind.value}-{job_id}")
        # A task that is cancelled before its first step runs none of its code.
        self._task.add_done_callback(self._end)

    @property
    def running(self) -> bool:
        """True until the operation has ended."""
        return self.state is JobState.RUNNING

    @property
    def progress(self) -> Progress:
        """The progress now."""
        return self._tracker.progress

    def cancel(self) -> None:
        """Asks the operation to end. `ended` returns once it has; an operation that has ended stays as it is."""
        self._task.cancel()

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Waits until the operation has ended, at most `timeout_s`. Returns whether it has."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True

    async def _run(self, work: Work) -> JobResult:
        return await work(self._tracker)

    def _end(self, task: "asyncio.Task[JobResult]") -> None:
        if task.cancelled():
            self.state = JobState.CANCELLED
            self.error = SightlineError(ErrorKind.CANCELLED, f"the {self.kind.value} was cancelled; {self._left()}")
        elif (error := task.exception()) is not None:
            self.state = JobState.FAILED
            self.error = self._public(error)
        else:
            self.state = JobState.SUCCEEDED
            self.result = task.result()
        self.ended_at = self._clock()
        self._ended.set()
        log.info("operation %s: %s of catalog %s %s", self.id, self.kind.value, self.catalog, self.state.value)

    def _public(self, error: BaseException) -> SightlineError:
        """The error that callers get: that of a library names its type only."""
        if isinstance(error, SightlineError):
            return SightlineError(error.kind, f"{error.message}; {self._left()}")
        if isinstance(error, OSError) and error.strerror:
            text = f"the {self.kind.value} failed: {error.strerror}; {self._left()}"
            return SightlineError(ErrorKind.OVERLOADED, text)
        log.error("operation %s failed", self.id, exc_info=error)
        text = f"the {self.kind.value} failed ({type(error).__name__}); {self._left()}"
        return SightlineError(ErrorKind.INTERNAL, text)

    def _left(self) -> str:
        """A note on what the operation leaves."""
        if self.kind is JobKind.EXPORT:
            return "no file was written"
        if self.kind is JobKind.REEMBEDDING:
            return "no revision was prepared, and what was embedded is kept for the next run"
        written = self.progress.written
        return f"{counted(written, 'product')} {'was written and stays' if written == 1 else 'were written and stay'}"
