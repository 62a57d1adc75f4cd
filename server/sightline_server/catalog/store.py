"""The writer of a catalog: groups of writes into the log, checkpoints into the base, revisions to go back to.

    write -> log (one transaction, one fsync) -> delta -> published -> acknowledged
    checkpoint: last version of each row -> base -> fsync -> one transaction that names the new version
                (read_ahead: writers go on)     (writers wait)
Rule: what `write` has returned is on the disk and in every later read. A step that fails changes nothing; the next one
begins by dropping what it left, and by publishing what was written and could not be published.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from sightline_server.catalog.activating import activate, is_activated
from sightline_server.catalog.adapting import adapt
from sightline_server.catalog.base import MAX_FRAGMENTS, Base
from sightline_server.catalog.checkpoint import Checkpoint, checkpoint_of
from sightline_server.catalog.current import Current
from sightline_server.catalog.delta import Delta, View, materialised
from sightline_server.catalog.generations import Generation, base_name
from sightline_server.catalog.grouping import Group, Outcome, WriteRequest
from sightline_server.catalog.held import Held, remove_base, require_rows
from sightline_server.catalog.keeping import KEEP_REVISIONS, SPARE_REVISIONS, available, kept_numbers
from sightline_server.catalog.lock import WriterLock
from sightline_server.catalog.log import Log
from sightline_server.catalog.log_file import require_log
from sightline_server.catalog.operations import Layout, Operation, Write
from sightline_server.catalog.pending import Pending
from sightline_server.catalog.preparing import Preparation, PreparedRows
from sightline_server.catalog.published import Published
from sightline_server.catalog.publisher import Publisher
from sightline_server.catalog.replica_mark import require_not_replica
from sightline_server.catalog.revisions import Revision, RevisionKind, kept_revision
from sightline_server.catalog.verify import require_intact
from sightline_server.catalog.writing import CheckpointPolicy, Receipt, writing_errors
from sightline_server.errors import ErrorKind, SightlineError


def no_pause() -> None:
    """The pause of a writer that nothing need wait for."""


def utc_now() -> datetime:
    """The time of the wall clock."""
    return datetime.now(UTC)


class CatalogStore:
    """A context: the only writer of the catalog at `folder`. Any thread may call it; calls wait for each other.

    Opening raises `SightlineError` of kind CONFIGURATION when another process writes to the catalog or its files are
    missing or damaged. `actor` and the time of `clock` are noted in revisions and used for nothing else. `published`
    is what this process searches; it is notified of each step before that returns. `pause` is called before each part
    of a checkpoint, so that searches may go first; writers wait meanwhile, unless that part is read ahead.
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
        pause: Callable[[], None] = no_pause,
    ) -> None:
        self._pause = pause
        self._folder = folder
        self._publisher = Publisher(published)
        self._clock = clock
        self._actor = actor
        self._policy = policy or CheckpointPolicy()
        self._keep = keep
        self._lock = WriterLock(folder)
        self._turn = threading.Lock()
        self._closed = False
        self._held: Held
        self._last_seq = self._pending_bytes = 0

    def __enter__(self) -> Self:
        require_not_replica(self._folder)
        path = require_log(self._folder)
        self._lock.acquire()
        self._closed = False
        try:
            self._log = Log(path)
            self.epoch = self._log.begin()
            self._held = Held(self._folder, self._log, actor=self._actor, clock=self._clock)
            with writing_errors(self._folder):
                self._load()
            self._publisher.begin(self.revisions[0], self._last_seq)
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
        """The columns of the current generation."""
        return self._held.open.generation.layout

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the current generation was made with."""
        return self._held.open.generation.facts

    @property
    def generations(self) -> Mapping[int, Generation]:
        """All generations by number."""
        return self._held.generations

    @property
    def last_seq(self) -> int:
        """The sequence number of the last write."""
        return self._last_seq

    @property
    def pending(self) -> int:
        """The number of operations that are not yet in the base."""
        return self._last_seq - self.current_revision.seq

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All revisions, the newest first; prepared ones are among them."""
        return self._held.revisions

    @property
    def current_revision(self) -> Revision:
        """The revision that the catalog has."""
        return self._held.current

    @property
    def _base(self) -> Base:
        return self._held.base

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
            pending = Pending(self.layout, self._delta, self._base, self._last_seq)
            pending.read([write for request in requests for write in request.writes])
            group = Group(pending, self._log.known_request)
            outcomes = [group.add(request) for request in requests]
            if pending.operations or group.requests:
                self._pending_bytes += self._log.append(pending.operations, group.requests.values())
            for operation in pending.operations:
                self._delta.apply(operation)
            self._last_seq += len(pending.operations)
            self._publisher.add(pending.operations)
            self._publisher.publish(self.revisions)
            return outcomes

    @contextmanager
    def current(self) -> Iterator[Current]:
        """The rows as they are now; writers wait until the block ends."""
        with self._turn:
            self._settle()
            yield Current(self.layout, self._delta, self._base)

    def within_step(self) -> Current:
        """The rows as they are now, for `published` while it is notified: it is the writer's turn then."""
        return Current(self.layout, self._delta, self._base)

    def view(self, seq: int) -> View:
        """The operations since the last checkpoint as a reader at `seq` sees them.

        Raises `ValueError` for a number before the checkpoint or after the last write.
        """
        first = self.current_revision.seq
        if not first <= seq <= self._last_seq:
            raise ValueError(f"sequence number {seq} is not between {first} and {self._last_seq}")
        return self._delta.at(seq)

    def rows(self, seq: int | None = None) -> pa.Table:
        """All rows at `seq`, by default the last one; in memory, in any order."""
        with self._turn:
            self._settle()
            view = self.view(self._last_seq if seq is None else seq)
            table = pa.Table.from_batches(self._base.batches(), schema=self._base.schema)
            kept = [place for row_id, place in self._base.positions().items() if row_id not in view.replaced]
            new = materialised(view, self.layout, self._base.rows)
            return pa.concat_tables([table.take(pa.array(kept, pa.int64())).cast(self.layout.schema), new])

    def read_ahead(self) -> Checkpoint | None:
        """Makes the longest part of a checkpoint of all operations, for `checkpoint`; writes go on meanwhile.

        None when there are none, or while another thread does it. Raises `SightlineError` as `write`.
        """
        with self._turn:
            self._settle()
            if not self.pending:
                return None
            seq, current = self._last_seq, self.current_revision
            view, base, layout = self._delta.at(seq), self._base, self.layout
            if not self._held.base_turn.acquire(blocking=False):
                return None
        try:
            return checkpoint_of(view, seq, base, layout, current, self._pause_unless_waited_for)
        finally:
            self._held.base_turn.release()

    def checkpoint(self, note: str = "", ahead: Checkpoint | None = None) -> Revision:
        """Brings all operations into the base. Returns the new revision, or the current one when there are none.

        With `ahead`, of `read_ahead`, it brings in those that are in it, unless another revision was made meanwhile.
        """
        with self._turn:
            self._settle()
            self._checkpoint(note, self._pause, ahead)
            self._publisher.publish(self.revisions)
            self._forget_oldest()
            return self.current_revision

    def prepare(
        self, layout: Layout, facts: Mapping[str, Any], parts: Iterable[PreparedRows], *, seq: int, note: str = ""
    ) -> Revision:
        """Makes a revision in a new generation, whose columns and facts these are. It is not the current one yet.

        `parts` are its rows, each product once, read from the iterator one part after the other; writes go on
        meanwhile. They are those of the content after operation `seq`. `rollback` to the revision makes it the current
        one. Raises `SightlineError` as `Preparation.write` and what `parts` raises; nothing was changed then.
        """
        with self._turn:
            self._settle()
            number = max([*self.generations, *self._held.preparing]) + 1
            self._held.preparing.add(number)
        preparation = Preparation(self._folder / base_name(number), layout)
        try:
            version, counts = preparation.write(parts)
            counted = (counts.digest, counts.rows, counts.items, counts.most_items)
            new = Revision(0, version, seq, *counted, "", RevisionKind.PREPARED, note, generation=number)
            with self._turn:
                self._settle()
                with self._held.step():  # of a base that nothing reads yet
                    return self._held.prepared(new, Generation(number, layout, facts), preparation.origins)
        except BaseException:
            with self._turn:
                # Whether a transaction that failed will be found later is certain only after the next one.
                if not (self._held.unfinished or self._closed):
                    remove_base(preparation.path)
            raise
        finally:
            self._held.preparing.discard(number)

    def rollback(self, number: int, note: str = "") -> Revision:
        """Makes the content equal to that of revision `number`; this is a revision as well.

        Operations that are not yet in the base become a revision first, so that nothing is lost. A prepared revision
        makes its generation the current one, with what was changed since; where it is that already, nothing is done.
        Raises `SightlineError` of kind INVALID_REQUEST for a revision that does not exist or whose content was removed,
        CONFIGURATION for one that is damaged, REVISION_OUTDATED for a prepared one without the embeddings of some
        products, and as `Published.require`; the catalog is as it was then.
        """
        with self._turn:
            self._settle()
            target = kept_revision(self.revisions, number)
            generation = self.generations[target.generation]
            if generation.number != self.current_revision.generation:
                self._publisher.require(generation)
        # Its files do not change, so that writers need not wait.
        with self._publisher.preparing(target) as intact:
            if not intact:
                require_intact(self._folder, generation.layout, target)
            with self._turn:
                self._settle()
                target = kept_revision(self.revisions, number)
                if is_activated(target, self.current_revision):
                    return self.current_revision
                self._checkpoint("before a rollback")
                activate(self._held, target, self._last_seq, note)
                self._publisher.publish(self.revisions)
                self._forget_oldest()
                return self.current_revision

    def adapt(self, adapter: bytes, note: str = "") -> Revision:
        """Makes a revision of the content of now that is searched by `adapter`; empty for none.

        Operations that are not yet in the base become a revision first. Raises `SightlineError` as `write`.
        """
        with self._turn:
            self._settle()
            self._checkpoint("before an adapter")
            adapt(self._held, adapter, self._last_seq, note)
            self._publisher.publish(self.revisions)
            self._forget_oldest()
            return self.current_revision

    def compact(self, keep: int | None = None) -> Revision:
        """Rewrites the base without deleted rows and removes the content of all but the newest `keep` revisions.

        A generation without such a revision is removed as a whole; the current revision is always kept.
        """
        with self._turn:
            self._settle()
            self._checkpoint("")
            with self._held.new_version():
                self._base.compact()
                require_rows(self._folder, self._base, self.current_revision)
                self._held.move()
            self._publisher.publish(self.revisions)
            self._held.forget(kept_numbers(self.revisions, self._keep if keep is None else keep, others=0))
            self._log.shrink()
            return self.current_revision

    def _load(self) -> Sequence[Operation]:
        """Reads the log, and drops what the bases have beyond it. Returns the log's operations."""
        recorded = self._held.load()
        self._last_seq = recorded.last_seq
        self._begin_delta(recorded.operations)
        return recorded.operations

    def _begin_delta(self, operations: Sequence[Operation]) -> None:
        """Makes `operations` those that are not yet in the base."""
        self._delta: Delta = Delta(operations)
        self._pending_bytes = sum(each.row.nbytes for each in operations if each.row is not None)

    def _checkpoint(self, note: str, pause: Callable[[], None] = no_pause, ahead: Checkpoint | None = None) -> None:
        if not self.pending:
            return
        made, delta, current = ahead, self._delta, self.current_revision
        if made is None or made.before != current:
            view = delta.at(self._last_seq)
            made = checkpoint_of(view, self._last_seq, self._base, self.layout, current, pause)
        pause()
        with self._held.new_version():
            self._base.replace(made.ids, made.rows)
            if self._base.fragments() > MAX_FRAGMENTS:
                self._base.compact()
            require_rows(self._folder, self._base, made.revision)
            pause()
            self._held.record(replace(made.revision, note=note), self._held.open)
        self._begin_delta(delta.after(made.revision.seq))
        delta.free()

    def _pause_unless_waited_for(self) -> None:
        """Lets searches go first, unless a step waits, and every writer behind it."""
        if not self._held.unfinished:
            self._pause()

    def _settle(self) -> None:
        """Drops what a step did not finish. Every step begins with this."""
        if self._closed:
            message = f"the catalog at {self._folder} was closed, and is not written to any more; open it again"
            raise SightlineError(ErrorKind.STOPPING, message)
        if self._held.unfinished:
            with self._held.base_turn, writing_errors(self._folder):
                self.epoch = self._log.begin()
                operations = self._load()
            self._held.unfinished = False
            self._publisher.add(operations)
        self._publisher.publish(self.revisions)

    def _forget_oldest(self) -> None:
        """Removes the content of the oldest revisions when there are more than is kept and spared."""
        if len(available(self.revisions)) > self._keep + SPARE_REVISIONS:
            self._held.forget(kept_numbers(self.revisions, self._keep))
