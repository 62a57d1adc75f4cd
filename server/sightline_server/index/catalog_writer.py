"""The writer of a catalog for many callers: a queue, groups, one thread, and checkpoints in their time.

    calls -> queue -> group (5 ms, 256 operations or 4 MiB) -> one transaction, published -> each caller its receipt
Rule: one group or checkpoint at a time, so the next group grows while one is written. A stop writes what is in the
queue first. Nothing here ends because a write or a checkpoint failed.
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

from sightline_server.catalog.grouping import Outcome
from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.catalogs import unknown_catalog
from sightline_server.domain.living import UNOBSERVED, WriteRefusal
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog_reading import CatalogReading
from sightline_server.index.living import LivingCatalog
from sightline_server.index.write_groups import (
    ROW_BYTES,
    acknowledged,
    deletes,
    public,
    size_of,
    updates_of,
    upserts,
    write_entries,
)
from sightline_server.index.write_queue import Entry, WriteQueue, stopping
from sightline_server.ports import Clock, LivingObserver, unchecked

log = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")
WINDOW_S = 0.005
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
    """A checkpoint or a rollback, and the future of its caller, which raises an error that `work` returns."""

    work: Callable[[], ValueT | SightlineError]
    done: "asyncio.Future[ValueT]"


class GroupWriter:
    """`ports.CatalogWriter` of an opened catalog. It runs from `start` to `close`; the catalog's owner closes that."""

    def __init__(
        self,
        name: str,
        living: LivingCatalog,
        *,
        clock: Clock,
        queue: WriteQueue | None = None,
        checkpoint_s: float = CHECKPOINT_S,
        observer: LivingObserver = UNOBSERVED,
    ) -> None:
        self.name = name
        self._living = living
        self._clock = clock
        self._queue = WriteQueue() if queue is None else queue
        self._checkpoint_s = checkpoint_s
        self._checkpoint_at = clock() + checkpoint_s
        self._observer = observer
        self._reading = CatalogReading(living.store)
        self._jobs: deque[Job[Any]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="catalog-writer")
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="catalog-reader")
        self._closing = self._failed = self._retired = False
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run(), name=f"catalog-writer-{self.name}")

    async def close(self) -> None:
        """Refuses calls, writes those that are in the queue, makes a checkpoint, and ends the threads."""
        self._closing = True
        if not self._retired:
            self._queue.close()
        self._awake.set()
        if self._task is not None:
            await self._task
        for executor in (self._thread, self._readers):
            await asyncio.to_thread(executor.shutdown)

    async def retire(self, remove: Callable[[int], None]) -> None:
        """Ends the writer of a catalog that is removed: no checkpoint is made, and later calls get UNKNOWN_CATALOG.

        `remove` removes it, on the writer's thread, given its number of products. No write comes between that number
        and the end. A `SightlineError` of it is raised here, and the writer goes on then.
        """
        await self._job(lambda: self._removed_by(remove))

    def _removed_by(self, remove: Callable[[int], None]) -> SightlineError | None:
        """The error of `remove`, if it raises one."""
        refusal = refused_by(lambda: remove(CatalogReading(self._living.store).count()))
        self._retired = refusal is None
        return refusal

    @property
    def embedder(self) -> EmbedderSpec:
        """See `ports.CatalogWriter`."""
        return self._living.embedder

    @property
    def views(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._living.views

    @property
    def pending(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._living.store.pending

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """See `ports.CatalogWriter`."""
        return self._living.store.revisions

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        size = sum(map(size_of, rows))
        entry = Entry(lambda: upserts(self._living, rows), len(rows), size, request_id, terms)
        return await self._write(entry, deadline)

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        originals = self._living.originals
        return await self._read(lambda: tuple(map(originals.add, images))) if originals.kept else ()

    @property
    def keeps_features(self) -> bool:
        """See `ports.CatalogWriter`."""
        return self._living.features.kept

    async def keep_features(self, features: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        store = self._living.features
        return await self._read(lambda: tuple(map(store.add, features))) if store.kept else ()

    async def update(
        self,
        updates: Sequence[ProductUpdate],
        request_id: str = "",
        *,
        terms: WriteTerms = PLAIN,
        deadline: float = math.inf,
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        entry = Entry(lambda: updates_of(updates), len(updates), ROW_BYTES * len(updates), request_id, terms)
        return await self._write(entry, deadline)

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        entry = Entry(lambda: deletes(ids), len(ids), sum(map(len, ids)), request_id, terms)
        return await self._write(entry, deadline)

    async def checkpoint(self, note: str = "") -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._job(lambda: self._living.checkpoint(note))

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._job(lambda: refused_by(check) or self._living.store.rollback(number, note))

    async def get(self, product_id: str) -> StoredProduct | None:
        """See `ports.CatalogWriter`."""
        return await self._read(lambda: self._reading.get(product_id))

    async def list(self, after: str, limit: int) -> tuple[StoredProduct, ...]:
        """See `ports.CatalogWriter`."""
        return await self._read(lambda: self._reading.page(after, limit))

    async def count(self) -> int:
        """See `ports.CatalogWriter`."""
        return await self._read(self._reading.count)

    async def _write(self, entry: Entry, deadline: float) -> Receipt:
        try:
            await self._queue.put(entry, deadline)
        except SightlineError as error:
            if error.kind is ErrorKind.OVERLOADED:
                self._observer.refused(self.name, WriteRefusal.QUEUE_FULL)
            raise
        self._awake.set()
        return await entry.done

    async def _job(self, work: Callable[[], ValueT | SightlineError]) -> ValueT:
        """The result of `work`, which runs between two groups; it runs to its end when its caller is cancelled.

        Raises an error that `work` returns.
        """
        self._require_open()
        if len(self._jobs) >= JOBS:
            raise SightlineError(ErrorKind.OVERLOADED, "too many revisions are being made", retry_after_s=RETRY_S)
        done: asyncio.Future[ValueT] = asyncio.get_running_loop().create_future()
        self._jobs.append(Job(work, done))
        self._awake.set()
        return await done

    async def _read(self, work: Callable[[], ValueT]) -> ValueT:
        self._require_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except SightlineError as error:
            if self._retired:
                raise unknown_catalog() from error
            log.error("catalog %s: a read failed: %s", self.name, error.message)
            raise public(error) from error

    def _require_open(self) -> None:
        """Raises `SightlineError` once the writer has ended, or will."""
        if self._retired:
            raise unknown_catalog()
        if self._closing:
            raise stopping()

    async def _run(self) -> None:
        """Writes until the stop, then what is left, and a last checkpoint; nothing more of a catalog that is gone."""
        while not self._retired and (self._queue or self._jobs or not self._closing):
            await self._wait()
            await self._step()
        if self._retired:
            self._refuse_rest()
        else:
            await self._checkpoint("at a stop")

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
            await self._gather()
            await self._write_group()
        if self._retired:
            return
        if self._living.store.checkpoint_due and self._checkpoint_at - self._clock() > 0 and not self._failed:
            await self._checkpoint("the log was full")
        elif self._clock() >= self._checkpoint_at:
            await self._checkpoint("")

    async def _gather(self) -> None:
        """Lets a group grow for a moment, unless it is full or the writer is stopping."""
        until = self._clock() + WINDOW_S
        while not self._queue.is_full() and not self._closing and (left_s := until - self._clock()) > 0:
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), left_s)

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
                self._observer.checkpointed(self.name, self._clock() - began, newest.name)

    async def _checkpoint(self, note: str) -> None:
        """A checkpoint at the interval or at the stop; one that fails is tried again later, and loses nothing."""
        done: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        self._failed = False
        if self._living.store.pending:
            await self._run_job(Job(lambda: self._living.checkpoint(note), done))
            self._failed = done.exception() is not None
        self._checkpoint_at = self._clock() + (RETRY_S if self._failed else self._checkpoint_s)

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
