"""Long-running operations: their progress, their end, and how many there may be."""

import asyncio
from datetime import UTC, datetime

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.jobs.job import Job, JobKind, JobResult, JobState
from sightline_server.jobs.jobs import Jobs
from sightline_server.jobs.progress import MAX_FAILURES, Progress, RowFailure, Tracker


def new_jobs(**limits: int) -> Jobs:
    return Jobs(clock=lambda: datetime(2026, 1, 2, tzinfo=UTC), **limits)


async def done(tracker: Tracker) -> JobResult:
    tracker.expect(3)
    tracker.written(2)
    tracker.problem(RowFailure(3, "no image", "p3"))
    tracker.read(3)
    return JobResult(2, revision="2-abc")


class Gate:
    """Work that waits until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, tracker: Tracker) -> JobResult:
        tracker.written(7)
        self.begun.set()
        await self.opened.wait()
        return JobResult(7)


async def ended(job: Job) -> JobState:
    assert await job.ended(10)
    return job.state


async def test_operation_that_succeeds_has_its_result_and_progress() -> None:
    job = new_jobs().start(JobKind.IMPORT, "shoes", done)
    assert job.running and job.result is None
    assert await ended(job) is JobState.SUCCEEDED
    assert job.result == JobResult(2, revision="2-abc")
    assert job.progress == Progress(3, 3, 2, 1, 1, (RowFailure(3, "no image", "p3"),))
    assert job.error is None and job.ended_at is not None


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SightlineError(ErrorKind.INVALID_REQUEST, "bad feed"), ErrorKind.INVALID_REQUEST, "bad feed; 7 products"),
        (OSError(28, "No space left on device"), ErrorKind.OVERLOADED, "No space left on device; 7 products were"),
        (KeyError("a secret"), ErrorKind.INTERNAL, "the import failed (KeyError); 7 products were written and stay"),
    ],
)
async def test_operation_that_fails_says_what_stays(error: Exception, kind: ErrorKind, text: str) -> None:
    async def fail(tracker: Tracker) -> JobResult:
        tracker.written(7)
        raise error

    job = new_jobs().start(JobKind.IMPORT, "shoes", fail)
    assert await ended(job) is JobState.FAILED
    assert job.error is not None and job.error.kind is kind
    assert text in job.error.message and "secret" not in job.error.message


async def test_cancelled_operation_says_what_stays() -> None:
    gate = Gate()
    job = new_jobs().start(JobKind.IMPORT, "shoes", gate)
    await gate.begun.wait()
    job.cancel()
    assert await ended(job) is JobState.CANCELLED
    assert job.error is not None and job.error.kind is ErrorKind.CANCELLED
    assert job.error.message == "the import was cancelled; 7 products were written and stay"


async def test_operation_that_is_cancelled_before_its_first_step_ends() -> None:
    job = new_jobs().start(JobKind.EXPORT, "shoes", done)
    job.cancel()
    assert await ended(job) is JobState.CANCELLED
    assert job.error is not None and "no file was written" in job.error.message


async def test_cancel_after_the_end_changes_nothing() -> None:
    job = new_jobs().start(JobKind.IMPORT, "shoes", done)
    await ended(job)
    job.cancel()
    await asyncio.sleep(0)
    assert job.state is JobState.SUCCEEDED


async def test_no_more_operations_run_than_are_allowed() -> None:
    jobs, gate = new_jobs(max_running=2), Gate()
    running = [jobs.start(JobKind.IMPORT, "shoes", gate) for _ in range(2)]
    with pytest.raises(SightlineError, match="2 operations are running") as raised:
        jobs.start(JobKind.IMPORT, "shoes", done)
    assert raised.value.kind is ErrorKind.OVERLOADED and raised.value.retry_after_s
    gate.opened.set()
    for job in running:
        await ended(job)
    assert await ended(jobs.start(JobKind.IMPORT, "shoes", done)) is JobState.SUCCEEDED


async def test_oldest_ended_operations_are_forgotten_and_running_ones_never() -> None:
    jobs, gate = new_jobs(max_running=2, max_kept=3), Gate()
    first = jobs.start(JobKind.IMPORT, "shoes", gate)
    later = []
    for _ in range(6):
        later.append(jobs.start(JobKind.IMPORT, "shoes", done))
        await ended(later[-1])
    jobs.start(JobKind.IMPORT, "shoes", gate)
    assert jobs.get(first.id) is first
    assert [jobs.get(job.id) is not None for job in later] == [False, False, False, True, True, True]
    assert jobs.get("unknown") is None
    await jobs.close()


async def test_close_cancels_what_runs_and_takes_nothing_more() -> None:
    jobs, gate = new_jobs(), Gate()
    job = jobs.start(JobKind.IMPORT, "shoes", gate)
    await gate.begun.wait()
    await jobs.close()
    assert job.state is JobState.CANCELLED
    with pytest.raises(SightlineError) as raised:
        jobs.start(JobKind.IMPORT, "shoes", done)
    assert raised.value.kind is ErrorKind.STOPPING


async def test_only_the_first_failures_are_kept_and_all_are_counted() -> None:
    async def many(tracker: Tracker) -> JobResult:
        for number in range(1, 1001):
            tracker.problem(RowFailure(number, "bad", skipped=number % 2 == 0))
        return JobResult(0)

    job = new_jobs().start(JobKind.IMPORT, "shoes", many)
    await ended(job)
    progress = job.progress
    assert (progress.problems, progress.failed, len(progress.failures)) == (1000, 500, MAX_FAILURES)
    assert progress.failures[-1].row == MAX_FAILURES


async def test_wait_ends_with_its_time() -> None:
    jobs, gate = new_jobs(), Gate()
    job = jobs.start(JobKind.IMPORT, "shoes", gate)
    assert not await job.ended(0.01)
    assert [each.id for each in jobs] == [job.id]
    await jobs.close()
