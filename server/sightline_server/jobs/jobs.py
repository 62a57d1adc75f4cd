"""The operations of a server: a bounded number runs, and a bounded number of ended ones is kept."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.jobs.job import Job, JobKind, JobState, Work

log = logging.getLogger(__name__)

MAX_RUNNING = 2
MAX_KEPT = 100
RETRY_S = 10.0


def utc_now() -> datetime:
    """The time of the wall clock, which is only shown."""
    return datetime.now(UTC)


class Jobs:
    """All operations, by their ids. For one event loop; `close` ends those that run."""

    def __init__(
        self, *, max_running: int = MAX_RUNNING, max_kept: int = MAX_KEPT, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._max_running = max_running
        self._max_kept = max_kept
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._closed = False

    def __iter__(self) -> Iterator[Job]:
        """The operations, the newest first."""
        return iter(reversed(list(self._jobs.values())))

    def start(self, kind: JobKind, catalog: str, work: Work) -> Job:
        """Starts an operation.

        Raises `SightlineError`: OVERLOADED while as many as are allowed run, STOPPING once the server stops.
        """
        if self._closed:
            raise SightlineError(ErrorKind.STOPPING, "the server is stopping; start the operation again later")
        running = sum(job.running for job in self._jobs.values())
        if running >= self._max_running:
            message = f"{running} operations are running, which is the most; try again when one has ended"
            raise SightlineError(ErrorKind.OVERLOADED, message, retry_after_s=RETRY_S)
        job = Job(uuid.uuid4().hex, kind, catalog, work, self._clock)
        self._jobs[job.id] = job
        self._drop_oldest()
        log.info("operation %s: %s of catalog %s started", job.id, kind.value, catalog)
        return job

    def get(self, job_id: str) -> Job | None:
        """The operation of this id; None where there is none, also where it ended long ago."""
        return self._jobs.get(job_id)

    async def forget(self, catalog: str) -> None:
        """Cancels what runs on `catalog`, waits until it has ended, and keeps nothing of its operations."""
        jobs = [job for job in self._jobs.values() if job.catalog == catalog]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*(job.ended() for job in jobs))
        for job in jobs:
            self._jobs.pop(job.id, None)

    async def close(self) -> None:
        """Cancels what runs, and waits until it has ended."""
        self._closed = True
        running = [job for job in self._jobs.values() if job.running]
        for job in running:
            job.cancel()
        await asyncio.gather(*(job.ended() for job in running))

    def _drop_oldest(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.state is not JobState.RUNNING]
        for job_id in ended[: max(0, len(ended) - self._max_kept)]:
            del self._jobs[job_id]
