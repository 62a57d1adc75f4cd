"""The writer of a catalog: groups of writes into the log, checkpoints into the base, revisions to go back to.

    write -> log (one transaction, one fsync) -> delta -> published -> acknowledged
    checkpoint: last version of each row -> base -> fsync -> one transaction that names the new version
Rule: what `write` has returned is on the disk and in every later read. A step that fails changes nothing; the next one
begins by dropping what it left, and by publishing what was written and could not be published.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from sightline_server.catalog.base import MAX_FRAGMENTS, Base
from sightline_server.catalog.checkpoint import checkpoint_of
from sightline_server.catalog.current import Current
from sightline_server.catalog.delta import Delta, View, materialised
from sightline_server.catalog.durable import NewFiles
from sightline_server.catalog.grouping import Group, Outcome, WriteRequest
from sightline_server.catalog.lock import WriterLock
from sightline_server.catalog.log import Log
from sightline_server.catalog.log_file import require_log
from sightline_server.catalog.operations import Layout, Operation, Write
from sightline_server.catalog.pending import Pending
from sightline_server.catalog.published import Published
from sightline_server.catalog.publisher import Publisher
from sightline_server.catalog.revisions import Revision, RevisionKind, kept_revision
from sightline_server.catalog.verify import require_intact
from sightline_server.catalog.writing import CheckpointPolicy, Receipt, writing_errors
from sightline_server.errors import ErrorKind, SightlineError

KEEP_REVISIONS = 20
SPARE_REVISIONS = 5
"""Revisions beyond those to keep before the oldest are removed, so that not every checkpoint removes files."""


def utc_now() -> datetime:
    """The time of the wall clock."""
    return datetime.now(UTC)


class CatalogStore:
    """A context: the only writer of the catalog at `folder`. Any thread may call it; calls wait for each other.

    Opening raises `SightlineError` of kind CONFIGURATION when another process writes to the catalog or its files are
    missing or damaged. `actor` and the time of `clock` are noted in revisions and used for nothing else. `published`
    is what this process searches; it is notified of each step before that returns.
    """

    def __init__(
        self,
        folder: Path,
        *,
        actor: str = "",
        policy: CheckpointPolicy | None = None,
        keep: int = KEEP_REVISIONS,
        clock: Callable[[], datetime] = utc_now,
        published: Published | None = None,
    ) -> None:
        self._folder = folder
        self._publisher = Publisher(published)
        self._clock = clock
        self._actor = actor
        self._policy = policy or CheckpointPolicy()
        self._keep = keep
        self._lock = WriterLock(folder)
        self._turn = threading.Lock()
        self._unfinished = self._closed = False
        self._revisions: tuple[Revision, ...] = ()
        self._last_seq = self._pending_bytes = 0

    def __enter__(self) -> Self:
        path = require_log(self._folder)
        self._lock.acquire()
        self._closed = False
        try:
            self._log = Log(path)
            self.epoch = self._log.begin()
            with writing_errors(self._folder):
                self._load()
            self._publisher.begin(self._revisions[0], self._last_seq)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends writing, once a step that runs has ended. Operations that are not in the base stay in the log."""
        with self._turn:
            self._closed = True
            if (log := getattr(self, "_log", None)) is not None:
                log.close()
            self._lock.release()

    @property
    def layout(self) -> Layout:
        """The columns."""
        return self._layout

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the catalog was made with."""
        return self._facts

    @property
    def last_seq(self) -> int:
        """The sequence number of the last write."""
        return self._last_seq

    @property
    def pending(self) -> int:
        """The number of operations that are not yet in the base."""
        return self._last_seq - self._revisions[0].seq

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All revisions, the newest first."""
        return self._revisions

    @property
    def checkpoint_due(self) -> bool:
        """Returns whether the log has as many operations or bytes as the policy allows."""
        return self.pending >= self._policy.operations or self._pending_bytes >= self._policy.row_bytes

    def write(self, writes: Sequence[Write], request_id: str = "") -> Receipt:
        """Writes a group in one transaction: all of it, or nothing when an error is raised.

        A `request_id` that was written before returns its first receipt; with other content it is refused. Raises
        `SightlineError`: INVALID_REQUEST for rows of other columns, OVERLOADED for a full disk, INDEX_UNAVAILABLE
        for writes that are on the disk and could not be published yet.
        """
        (outcome,) = self.write_group([WriteRequest(writes, request_id)])
        if isinstance(outcome, SightlineError):
            raise outcome
        return outcome

    def write_group(self, requests: Sequence[WriteRequest]) -> list[Outcome]:
        """Writes requests in one transaction. One that cannot be written has its error; it does not affect the others.

        Raises `SightlineError` as `write` for what concerns all of them; none of them is written then, or all are
        where they could not be published.
        """
        with self._turn:
            self._settle()
            pending = Pending(self._layout, self._delta, self._base, self._last_seq)
            pending.read([write for request in requests for write in request.writes])
            group = Group(pending, self._log.known_request)
            outcomes = [group.add(request) for request in requests]
            if pending.operations or group.requests:
                self._log.append(pending.operations, group.requests.values())
            for operation in pending.operations:
                self._delta.apply(operation)
                self._pending_bytes += operation.row.nbytes if operation.row is not None else 0
            self._last_seq += len(pending.operations)
            self._publisher.add(pending.operations)
            self._publisher.publish(self._revisions)
            return outcomes

    @contextmanager
    def current(self) -> Iterator[Current]:
        """The rows as they are now; writers wait until the block ends."""
        with self._turn:
            self._settle()
            yield Current(self._layout, self._delta, self._base)

    def view(self, seq: int) -> View:
        """The operations since the last checkpoint as a reader at `seq` sees them.

        Raises `ValueError` for a number before the checkpoint or after the last write.
        """
        if not self._revisions[0].seq <= seq <= self._last_seq:
            raise ValueError(f"sequence number {seq} is not between {self._revisions[0].seq} and {self._last_seq}")
        return self._delta.at(seq)

    def rows(self, seq: int | None = None) -> pa.Table:
        """All rows at `seq`, by default the last one; in memory, in any order."""
        with self._turn:
            self._settle()
            view = self.view(self._last_seq if seq is None else seq)
            table = pa.Table.from_batches(self._base.batches(), schema=self._base.schema)
            kept = [place for row_id, place in self._base.positions().items() if row_id not in view.replaced]
            new = materialised(view, self._layout, self._base.rows)
            return pa.concat_tables([table.take(pa.array(kept, pa.int64())).cast(self._layout.schema), new])

    def checkpoint(self, note: str = "") -> Revision:
        """Brings all operations into the base. Returns the new revision, or the current one when there are none."""
        with self._turn:
            self._settle()
            self._checkpoint(note)
            self._publisher.publish(self._revisions)
            self._forget_oldest()
            return self._revisions[0]

    def rollback(self, number: int, note: str = "") -> Revision:
        """Makes the content equal to that of revision `number`; this is a revision as well.

        Operations that are not yet in the base become a revision first, so that nothing is lost. Raises
        `SightlineError` of kind INVALID_REQUEST for a revision that does not exist or whose content was removed, and of
        kind CONFIGURATION for one that is damaged; the catalog is as it was then.
        """
        with self._turn:
            self._settle()
            target = self._revision(number)
        # Its files do not change, so that writers need not wait.
        require_intact(self._folder, self._layout, target)
        with self._turn:
            self._settle()
            target = self._revision(number)
            self._checkpoint("before a rollback")
            with self._new_version() as base:
                assert target.base_version is not None
                base.restore(target.base_version)
                self._require_rows(target)
                note = note or f"content of revision {number}"
                self._record(replace(target, kind=RevisionKind.ROLLBACK, note=note, seq=self._last_seq))
            self._publisher.publish(self._revisions)
            self._forget_oldest()
            return self._revisions[0]

    def compact(self, keep: int | None = None) -> Revision:
        """Rewrites the base without deleted rows and removes the content of all but the newest `keep` revisions."""
        with self._turn:
            self._settle()
            self._checkpoint("")
            current = self._revisions[0]
            with self._new_version() as base:
                base.compact()
                self._require_rows(current)
                base.set_tags(self._versions() | {current.number: base.version})
                self._files.sync()
                self._log.move(current.number, base.version)
                self._revisions = (replace(current, base_version=base.version), *self._revisions[1:])
            self._publisher.publish(self._revisions)
            self._forget(self._keep if keep is None else keep)
            self._log.shrink()
            return self._revisions[0]

    def _load(self) -> Sequence[Operation]:
        """Reads the log, and drops what the base has beyond the recorded version. Returns the log's operations."""
        recorded = self._log.read()
        self._layout, self._facts, self._revisions = recorded.layout, recorded.facts, recorded.revisions
        self._last_seq = recorded.last_seq
        self._delta: Delta = Delta(recorded.operations)
        self._pending_bytes = sum(each.row.nbytes for each in recorded.operations if each.row is not None)
        self._base: Base = Base(self._folder, recorded.base_version)
        self._base.recover(recorded.base_version)
        self._base.set_tags(self._versions())
        self._require_rows(self._revisions[0])
        self._files: NewFiles = self._base.new_files()
        return recorded.operations

    def _checkpoint(self, note: str) -> None:
        current = self._revisions[0]
        if not self.pending:
            return
        view = self._delta.at(self._last_seq)
        made = checkpoint_of(view, self._last_seq, self._base, self._layout, current, note)
        with self._new_version() as base:
            base.replace(made.ids, made.rows)
            if base.fragments() > MAX_FRAGMENTS:
                base.compact()
            self._require_rows(made.revision)
            self._record(made.revision)
        self._delta, self._pending_bytes = Delta(), 0

    def _settle(self) -> None:
        """Drops a version that was not finished. Every step begins with this.

        It is not done where the step failed: whether a commit that failed will be found by a later start is certain
        only after another transaction.
        """
        if self._closed:
            message = f"the catalog at {self._folder} was closed, and is not written to any more; open it again"
            raise SightlineError(ErrorKind.STOPPING, message)
        if self._unfinished:
            with writing_errors(self._folder):
                self._log.begin()
                operations = self._load()
            self._unfinished = False
            self._publisher.add(operations)
        self._publisher.publish(self._revisions)

    @contextmanager
    def _new_version(self) -> Iterator[Base]:
        """The base while a version is made, which `_settle` drops when that fails."""
        self._unfinished = True
        with writing_errors(self._folder):
            yield self._base
        self._unfinished = False

    def _record(self, revision: Revision) -> None:
        """Brings the base's new version to the disk, then names it as a new revision."""
        number = self._revisions[0].number + 1
        created_at = self._clock().isoformat(timespec="seconds")
        self._base.set_tags(self._versions() | {number: self._base.version})
        self._files.sync()
        revision = replace(
            revision, number=number, base_version=self._base.version, created_at=created_at, actor=self._actor
        )
        self._log.record(revision)
        self._revisions = (revision, *self._revisions)

    def _versions(self) -> dict[int, int]:
        """The version of the base of each revision whose content is kept, the newest first."""
        return {each.number: each.base_version for each in self._revisions if each.base_version is not None}

    def _forget_oldest(self) -> None:
        """Removes the content of the oldest revisions when there are more than is kept and spared."""
        if len(self._versions()) > self._keep + SPARE_REVISIONS:
            self._forget(self._keep)

    def _forget(self, keep: int) -> None:
        """Removes the content of all but the newest `keep` revisions."""
        kept = list(self._versions())[: max(keep, 1)]
        self._log.forget(min(kept))
        self._revisions = tuple(
            each if each.number in kept else replace(each, base_version=None) for each in self._revisions
        )
        self._base.set_tags(self._versions())
        self._base.clean()
        self._files.sync()

    def _revision(self, number: int) -> Revision:
        return kept_revision(self._revisions, number)

    def _require_rows(self, revision: Revision) -> None:
        """Raises `SightlineError` when the base has another number of rows than `revision`."""
        found = self._base.count()
        if found != revision.rows:
            message = f"the base of {self._folder} is damaged: {found} rows, expected {revision.rows}"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
