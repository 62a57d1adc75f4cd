"""A catalog in Milvus that this process writes: its folder has the log and the rows, and Milvus what is searched.

    log (on the disk) -> new rows inserted -> read back under Strong -> shown -> old rows deleted -> acknowledged
Rule: nothing is acknowledged that a search of this process would not show, and nothing is shown after its deletion was
acknowledged. A step that fails is done again as a whole before the next one: the log has it.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog.base import Base
from sightline_server.catalog.content import Content, name_at
from sightline_server.catalog.current import Current
from sightline_server.catalog.delta import Delta
from sightline_server.catalog.generations import Generation
from sightline_server.catalog.log import read_recorded
from sightline_server.catalog.operations import Operation
from sightline_server.catalog.revisions import Revision
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.living import LiveSizes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus.binding import Binding, read_binding
from sightline_server.index.milvus.client import STRONG, Milvus
from sightline_server.index.milvus.lease import Holder, Lease, busy
from sightline_server.index.milvus.names import alias_of
from sightline_server.index.milvus.opening import open_collection
from sightline_server.index.milvus.reach import Tombstones, first_row
from sightline_server.index.milvus.snapshot import MilvusSnapshot, Moment
from sightline_server.index.milvus.writing import DELETED_ROWS, WRITE_S, write_rows
from sightline_server.ports import Snapshot

log = logging.getLogger(__name__)

PROBE_S = 2.0
RETRY_S = 2.0
NO_ROLLBACK = (
    "a catalog in Milvus is not set back while it is served; stop the server, use `sightline catalog rollback` on its "
    "folder, and copy it with `sightline catalog push --writable`"
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A collection that has the content of the folder, and the lease to write to it."""

    milvus: Milvus
    opened: MilvusSnapshot
    lease: Lease


class MilvusLive:
    """`catalog.published.Published` for the catalog `name` whose folder is `path`.

    `follow` is called again and again by what keeps the connection, the rest by the store. `store` is set before
    either.
    """

    store: CatalogStore

    def __init__(self, path: Path, name: str, embedders: Embedders) -> None:
        self.name = name
        self._path, self._embedders = path, embedders
        self._holder = Holder("a server that writes to it")
        self._turn = threading.Lock()
        """Held while what is bound, or what Milvus holds, changes."""
        self._milvus: Milvus | None = None
        self._opened: MilvusSnapshot | None = None
        self._lease: Lease | None = None
        self._bound: Bound | None = None
        self._view: Snapshot | None = None
        self._collection = ""
        self._tombstones = Tombstones()
        self._products = self._shown_seq = 0
        self._revision: Revision
        self._certain = False
        """False while a write may be in Milvus in part, so that its rows must be looked for before they are written."""
        self._settled = False
        """True once Milvus was made to have every operation of the log; later ones are written before the next step."""
        self._unequal: tuple[str, SightlineError] | None = None
        """A collection that has another content than the folder, which only a push changes, and the error of that."""
        self._epoch = self._bound_seq = 0
        self._reason = away("the Milvus that holds the catalog was not reached yet")

    def begin(self) -> None:
        """Takes the binding over from the process before, once the log was opened and before anything is written."""
        binding = read_binding(self._path)
        if binding is not None and binding.holds(binding.collection, self.store.epoch):
            self._bind_to(binding.collection, binding.seq)
        with self.store.current() as current:
            self._products = current.count()

    def _bind_to(self, collection: str, seq: int) -> None:
        """Notes in the folder that `collection` has its content, for the epoch of now."""
        self._epoch, self._bound_seq = self.store.epoch, seq
        Binding(collection, self._epoch, seq).write(self._path)

    def view(self) -> Snapshot:
        """The snapshot that a lease gets. Raises `SightlineError` of kind INDEX_UNAVAILABLE before there is one."""
        if self._view is None:
            raise self._reason
        return self._view

    def require_writable(self) -> None:
        """Raises `SightlineError` of kind INDEX_UNAVAILABLE, with the reason, while nothing can be written."""
        if self._bound is None:
            raise self._reason
        self._bound.lease.require()

    def require_settled(self) -> None:
        """Raises as `require_writable` before the log was compared with Milvus: a checkpoint would drop operations
        from the log that Milvus may lack."""
        if not self._settled:
            message = f"a checkpoint waits until Milvus has every operation of the log: {self._reason.message}"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)

    def follow(self, milvus: Milvus) -> MilvusSnapshot | None:
        """Opens what is active in `milvus` if it is another collection, and takes it for writing; blocking.

        Returns what was opened, None where that was before. Raises `SightlineError` as `open_collection`.
        """
        active = milvus.active(alias_of(self.name), limit_s=PROBE_S)
        with self._turn:
            fresh = self._milvus is not milvus or self._opened is None or self._opened.collection != active
            if fresh:
                self._unbind()
                self._milvus = milvus
                self._opened = open_collection(milvus, self.name, self._embedders)
                self._view = self._opened
                if self._opened.collection != self._collection:
                    self._collection, self._tombstones = self._opened.collection, Tombstones()
            assert self._opened is not None
            self._hold(milvus, self._opened)
            return self._opened if fresh else None

    def lose(self, error: SightlineError | None) -> None:
        """Milvus is away because of `error`, where that is known: writes are refused until the next `follow`."""
        with self._turn:
            self._unbind()
            self._reason = away(
                error.message if error else "the Milvus that holds the catalog is away; try again later"
            )

    def _unbind(self) -> None:
        self._bound = self._milvus = self._opened = None
        self._certain = False
        if self._lease is not None:
            self._lease.stop()
            self._lease = None

    def _hold(self, milvus: Milvus, opened: MilvusSnapshot) -> None:
        """Takes the lease, and what the lease is for, where that is possible; else notes the reason."""
        try:
            if self._bound is not None:
                self._bound.lease.require()
                return
            self._bind(milvus, opened)
        except SightlineError as error:
            if self._reason.message != error.message:
                log.warning("catalog %s is searched and not written: %s", self.name, error.message)
            self._reason, self._bound, self._view = error, None, opened

    def _bind(self, milvus: Milvus, opened: MilvusSnapshot) -> None:
        if not opened.facts.writable:
            raise unwritable(f"it was pushed without --writable; push it again with {push(self.name)}")
        if self._unequal and self._unequal[0] == opened.collection:
            raise self._unequal[1]
        self._since(opened)  # before the lease, so that a push which makes the two equal can have it
        self._lease = self._lease or Lease(milvus, self.name, self._holder)
        if not self._lease.attempt():
            raise busy(self.name, self._lease.other)
        self._lease.keep()
        try:
            bound = Bound(milvus, opened, self._lease)
            self._replay(bound, self._since(opened))
        except BaseException:
            self._lease.release()
            self._lease = None
            raise
        self._bound, self._settled = bound, True
        log.info("catalog %s: revision %s is written in Milvus", self.name, self.view().revision)

    def _since(self, opened: MilvusSnapshot) -> int:
        """The number of the last operation that the collection is known to have.

        Raises `SightlineError` where its content is another one than that of the folder.
        """
        recorded, epoch = read_recorded(self._path), self.store.epoch
        binding = read_binding(self._path)
        if binding is not None and binding.holds(opened.collection, epoch):
            return binding.seq
        if Content(self._path, recorded).digest != opened.content_sha256:
            raise self._refused("its folder has another content than Milvus; another process wrote to one of them")
        return recorded.last_seq

    def _refused(self, why: str) -> SightlineError:
        """The error of a collection that is not the folder's; it holds until another one is pushed."""
        error = unwritable(f"{why}; make them equal with {push(self.name)}")
        self._unequal = self._collection, error
        return error

    def _replay(self, bound: Bound, since: int) -> None:
        """Writes the operations after `since` again: which of them Milvus has is not known."""
        recorded = read_recorded(self._path)
        content = Content(self._path, recorded)
        seqs = {each.id: each.seq for each in recorded.operations}
        base = Base(self._path, recorded.base_version, recorded.current.generation)
        current = Current(recorded.layout, Delta(recorded.operations), base)
        self._certain, self._products, self._revision = False, content.rows, recorded.current
        again = {row_id: seq for row_id, seq in seqs.items() if seq > since}
        self._write(bound, current, again, recorded.last_seq)
        found = bound.milvus.count(bound.opened.collection, "first_image == 1", consistency=STRONG)
        if found != content.rows:
            raise self._refused(f"Milvus has {found} products, and its folder {content.rows}")
        self._bind_to(bound.opened.collection, recorded.last_seq)

    def apply(self, operations: Sequence[Operation]) -> None:
        """See `Published`."""
        with self._turn:
            self.require_writable()
            assert self._bound is not None
            if self._epoch != self.store.epoch:  # the store has opened its log again after a failed step
                self._bind_to(self._bound.opened.collection, self._bound_seq)
            seqs = {each.id: each.seq for each in operations}
            current = self.store.within_step()
            self._products = current.count()
            self._write(self._bound, current, seqs, operations[-1].seq)

    def _write(self, bound: Bound, current: Current, seqs: Mapping[str, int], last: int) -> None:
        """Makes Milvus show what the operations `seqs`, by id, have made of the rows, and nothing of it before."""
        certain, self._certain = self._certain, False
        opened = bound.opened
        dead = write_rows(bound.milvus, opened.collection, bound.lease, current, seqs, certain=certain)
        self._tombstones.add({row_id: first_row(seq) for row_id, seq in seqs.items()})
        self._show(opened, last)
        for start in range(0, len(dead), DELETED_ROWS):
            bound.lease.require()
            part = dead[start : start + DELETED_ROWS]
            bound.milvus.delete(opened.collection, part, limit_s=WRITE_S)
        self._tombstones.deleted(seqs)
        self._certain = True

    def _show(self, opened: MilvusSnapshot, seq: int) -> None:
        """The content after operation `seq` is what leases get from now on."""
        revision, end = self._revision, first_row(seq + 1)
        reach = self._tombstones.reach(end)
        name = name_at(revision, max(seq, revision.seq))
        self._view = opened.at(Moment(name, revision.created_at, self._products, reach))
        self._shown_seq = seq

    def checkpointed(self, revision: Revision) -> None:
        """See `Published`."""
        with self._turn:
            self._revision = revision
            if self._bound is not None:
                self._show(self._bound.opened, self._shown_seq)
                self._bind_to(self._bound.opened.collection, revision.seq)

    def replaced(self, revision: Revision) -> None:
        """See `Published`: it is refused before it comes to this."""
        raise unwritable(NO_ROLLBACK)

    def require(self, generation: Generation) -> None:
        """See `Published`: another embedder needs another collection."""
        raise SightlineError(ErrorKind.EMBEDDER_NOT_SERVED, NO_ROLLBACK, field="name")

    @contextmanager
    def preparing(self, revision: Revision) -> Iterator[bool]:
        """See `Published`."""
        yield False

    @property
    def sizes(self) -> LiveSizes:
        """The sizes that this process knows: Milvus holds the vectors, and decides when it merges."""
        return LiveSizes(self._products, 0, 0, 0, 0, 0, 0)

    def join(self) -> None:
        """Waits for nothing: Milvus merges by itself."""

    def close(self) -> None:
        """Gives the lease back; nothing is written from now on."""
        with self._turn:
            lease, self._lease = self._lease, None
            self._bound = None
            if lease is not None:
                lease.release()


def push(name: str) -> str:
    """The command that copies a catalog so that it can be written."""
    return f"`sightline catalog push {name} --to milvus --uri URI --writable`"


def unwritable(why: str) -> SightlineError:
    """The error of a catalog in Milvus that is not written."""
    message = f"the catalog can be searched and not written: {why}"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)


def away(why: str) -> SightlineError:
    """The error of writes while Milvus is away."""
    message = f"nothing of this request was written: {why}"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)
