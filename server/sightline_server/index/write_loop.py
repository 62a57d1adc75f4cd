"""The loop that writes one catalog: groups of calls and jobs, in turn, on one thread, and checkpoints in their time.

    entries -> queue -> group (`GroupWindow`; 256 operations or 4 MiB) -> one transaction, published -> their receipts
Rule: one group or job at a time, so the next group grows while one is written. What a checkpoint reads is read ahead of
its job, by another thread: callers that had to wait would all go on at once, next to searches. A stop writes what is in
the queue first. The loop does not end because a write or a checkpoint failed.
"""

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sightline_server.catalog.checkpoint import Checkpoint
from sightline_server.catalog.grouping import Outcome
from sightline_server.domain.catalogs import unknown_catalog
from sightline_server.domain.living import WriteRefusal
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.group_window import GroupWindow, SearchesFirst
from sightline_server.index.living import LivingCatalog
from sightline_server.index.write_groups import acknowledged, public, write_entries
from sightline_server.index.write_queue import Entry, WriteQueue, stopping
from sightline_server.ports import Clock, LivingObserver

log = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")
CHECKPOINT_S = 300.0
RETRY_S = 30.0
"""Seconds after a checkpoint that failed."""
REFUSALS = {
    ErrorKind.OVERLOADED: WriteRefusal.DISK_FULL,
    ErrorKind.INDEX_UNAVAILABLE: WriteRefusal.FAILED,
    ErrorKind.INTERNAL: WriteRefusal.FAILED,
}
REFUSED = (ErrorKind.INVALID_REQUEST, ErrorKind.REVISION_OUTDATED, ErrorKind.EMBEDDER_NOT_SERVED)
"""Kinds of errors of an activation that is not possible, which is not one that failed."""
JOBS = 16
"""Checkpoints and rollbacks that may wait."""


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[ValueT]):
    """A checkpoint or a rollback, and the future of its caller, which raises an error that `work` returns.

    `ahead_s` are the seconds that a part of it has taken already.
    """

    work: Callable[[], ValueT | SightlineError]
    done: "asyncio.Future[ValueT]"
    ahead_s: float = 0.0


class WriteLoop:
    """It runs from `start` to `close`.

    `put`, `job`, `checkpoint` and `retire` raise UNKNOWN_CATALOG once the catalog is removed.
    """

    def __init__(
        self,
        name: str,
        living: LivingCatalog,
        *,
        clock: Clock,
        queue: WriteQueue,
        checkpoint_s: float,
        observer: LivingObserver,
        searches_first: SearchesFirst,
    ) -> None:
        self.name = name
        self.retired = False
        """The catalog was removed."""
        self._living = living
        self._clock = clock
        self._queue = queue
        self._checkpoint_s = checkpoint_s
        self._checkpoint_at = clock() + checkpoint_s
        self._observer = observer
        self._jobs: deque[Job[Any]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="catalog-ahead")
        self._reading = 0
        """Checkpoints that are read ahead, whose jobs follow."""
        self._scheduled: asyncio.Task[None] | None = None
        self._closing = self._failed = False
        self._awake = asyncio.Event()
        self._window = GroupWindow(
            clock=clock,
            searches_first=searches_first,
            awake=self._awake,
            is_over=lambda: self._closing or queue.is_full(),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run(), name=f"catalog-writer-{self.name}")

    async def close(self) -> None:
        """Refuses calls, writes those that are in the queue, makes a checkpoint, and ends the thread."""
        self._closing = True
        if not self.retired:
            self._queue.close()
        self._awake.set()
        if self._task is not None:
            await self._task
        for thread in (self._thread, self._reader):
            await asyncio.to_thread(thread.shutdown)

    async def retire(self, remove: Callable[[], object]) -> None:
        """Ends the loop of a catalog that `remove` removes, on the writer's thread: no checkpoint is made.

        A `SightlineError` of `remove` is raised here, and the loop goes on then.
        """
        await self.job(lambda: self._removed_by(remove))

    def _removed_by(self, remove: Callable[[], object]) -> SightlineError | None:
        """The error of `remove`, if it raises one."""
        refusal = refused_by(remove)
        self.retired = refusal is None
        return refusal

    async def put(self, entry: Entry, deadline: float = math.inf) -> Receipt:
        """The receipt of `entry`, once it is written. Raises `SightlineError` as `WriteQueue.put` and its own."""
        try:
            await self._queue.put(entry, deadline)
        except SightlineError as error:
            if error.kind is ErrorKind.OVERLOADED:
                self._observer.refused(self.name, WriteRefusal.QUEUE_FULL)
            raise
        if not self._window.open or self._queue.is_full():
            self._awake.set()
        return await entry.done

    async def job(self, work: Callable[[], ValueT | SightlineError]) -> ValueT:
        """The result of `work`, which runs between two groups; it runs to its end when its caller is cancelled.

        Raises an error that `work` returns.
        """
        self._require_room()
        return await self._job(work)

    async def checkpoint(self, note: str = "") -> Revision:
        """A revision of all that was acknowledged before the call. It is made as `job` when its caller is cancelled
        once it has been read ahead."""
        self._require_room()
        began = self._clock()
        self._reading += 1
        try:
            ahead = await self._read_ahead()
        finally:
            self._reading -= 1
            self._awake.set()
        if self.retired:
            raise unknown_catalog()
        return await self._job(lambda: self._living.checkpoint(note, ahead), self._clock() - began)

    async def _job(self, work: Callable[[], ValueT | SightlineError], ahead_s: float = 0.0) -> ValueT:
        done: asyncio.Future[ValueT] = asyncio.get_running_loop().create_future()
        self._jobs.append(Job(work, done, ahead_s))
        self._awake.set()
        return await done

    async def _read_ahead(self) -> Checkpoint | None:
        """The part of a checkpoint of now that reads; None when it fails: the job reads then, and reports the cause."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, self._living.store.read_ahead)
        except Exception as error:  # whatever files and memory meet
            log.warning("catalog %s: a checkpoint was not read ahead (%s)", self.name, type(error).__name__)
            return None

    def _require_room(self) -> None:
        """Raises `SightlineError` when there are too many jobs, and as `require_open`."""
        self.require_open()
        if len(self._jobs) + self._reading >= JOBS:
            raise SightlineError(ErrorKind.OVERLOADED, "too many revisions are being made", retry_after_s=RETRY_S)

    def require_open(self) -> None:
        """Raises `SightlineError` once the loop has ended, or will."""
        if self.retired:
            raise unknown_catalog()
        if self._closing:
            raise stopping()

    async def _run(self) -> None:
        """Writes until the stop, then what is left, and a last checkpoint; nothing more of a catalog that is gone."""
        while not self.retired and (self._queue or self._jobs or self._reading or not self._closing):
            await self._wait()
            await self._step()
        if self.retired:
            self._refuse_rest()
        if self._scheduled is not None:
            await asyncio.wait([self._scheduled])
        if not self.retired:
            await self._last_checkpoint()

    def _refuse_rest(self) -> None:
        """Refuses what waits, and every later call."""
        self._queue.close(unknown_catalog)
        while entries := self._queue.take():
            for entry in entries:
                settle(entry.done, unknown_catalog())
        while self._jobs:
            settle(self._jobs.popleft().done, unknown_catalog())

    async def _wait(self) -> None:
        """Waits for a call, a job, the next checkpoint or the stop."""
        if self._queue or self._jobs:
            return
        left_s = max(0.0, self._checkpoint_at - self._clock())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), left_s)

    async def _step(self) -> None:
        """Runs the job that waits longest, or writes one group; then makes a checkpoint when one is due."""
        self._awake.clear()
        if self._jobs:
            await self._run_job(self._jobs.popleft())
        elif self._queue:
            await self._window.wait()
            await self._write_group()
        if self.retired:
            return
        if self._clock() >= self._checkpoint_at:
            self._schedule("")
        elif self._living.store.checkpoint_due and not self._failed and math.isfinite(self._checkpoint_at):
            self._schedule("the log was full")

    async def _write_group(self) -> None:
        entries = self._queue.take()
        if not entries:
            return
        began = self._clock()
        outcomes = await self._on_thread(lambda: write_entries(self._living.store, entries, self.name))
        for entry, outcome in zip(entries, outcomes, strict=True):
            settle(entry.done, outcome)
        if operations := acknowledged(entries, outcomes):
            self._observer.acknowledged(self.name, operations, self._clock() - began)
        self._note_refusals(outcomes)

    def _note_refusals(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, SightlineError) and outcome.kind in REFUSALS:
                self._observer.refused(self.name, REFUSALS[outcome.kind])

    async def _run_job(self, job: Job[Any]) -> None:
        if job.done.cancelled():
            return
        began, before = self._clock(), self._living.store.current_revision.number
        try:
            result = await self._on_thread(job.work)
        except SightlineError as error:
            if error.kind not in REFUSED:
                self._observer.checkpoint_failed(self.name)
                log.error("catalog %s: %s", self.name, error.message)
            settle(job.done, public(error))
        except Exception:
            self._observer.checkpoint_failed(self.name)
            log.exception("catalog %s: a revision could not be made", self.name)
            settle(job.done, SightlineError(ErrorKind.INTERNAL, "internal error"))
        else:
            settle(job.done, result)
            if (newest := self._living.store.current_revision).number != before:
                self._observer.checkpointed(self.name, job.ahead_s + self._clock() - began, newest.name)

    def _schedule(self, note: str) -> None:
        """Begins a checkpoint that no caller waits for; the next one has no time until it has ended."""
        self._checkpoint_at = math.inf
        self._scheduled = asyncio.create_task(self._own_checkpoint(note), name=f"catalog-checkpoint-{self.name}")

    async def _own_checkpoint(self, note: str) -> None:
        """A checkpoint at the interval; one that fails is tried again later, and loses nothing."""
        self._failed = True
        try:
            if self._living.store.pending:
                await self.checkpoint(note)
            self._failed = False
        except SightlineError:  # `_run_job` has reported it, or too many jobs wait already
            pass
        except Exception:
            self._observer.checkpoint_failed(self.name)
            log.exception("catalog %s: a checkpoint could not be made", self.name)
        finally:
            self._checkpoint_at = self._clock() + (RETRY_S if self._failed else self._checkpoint_s)
            self._awake.set()

    async def _last_checkpoint(self) -> None:
        """The checkpoint at the stop; when it fails, what was written is in the log."""
        if self._living.store.pending:
            done: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
            await self._run_job(Job(lambda: self._living.checkpoint("at a stop"), done))
            done.exception()

    async def _on_thread(self, work: Callable[[], ValueT]) -> ValueT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def refused_by(check: Callable[[], object]) -> SightlineError | None:
    """The error of `check`, which `settle` raises: a refusal is not a revision that failed."""
    try:
        check()
    except SightlineError as error:
        return error
    return None


def settle(done: "asyncio.Future[Any]", outcome: object) -> None:
    """Gives a caller that still waits its outcome."""
    if done.done():
        return
    if isinstance(outcome, SightlineError):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
