"""The live index of one catalog: follows its store, publishes views, and merges what was written into new bases.

    store -> apply -> the view of a new number        (writer's thread)
    limit reached -> a new base, built next to the old one -> carried over -> swapped      (merge thread)
Rule: the view that is published is one reference. A base is exchanged where leases are made, so that no lease is
counted for another base than that which it searches.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from sightline_server.catalog.content import name_at
from sightline_server.catalog.generations import Generation
from sightline_server.catalog.operations import Operation
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.living import UNOBSERVED, LiveSizes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.held_content import HeldContent, without_pause
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.going_back import changes_to
from sightline_server.index.live.held import held_content, is_held, selects_of
from sightline_server.index.live.later_probes import make_later
from sightline_server.index.live.matching import LiveMatching
from sightline_server.index.live.merging import Merging
from sightline_server.index.live.patience import GiveWay, Patience, at_once
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.live.prepared import PreparedBase
from sightline_server.index.live.sizes import sizes_of
from sightline_server.index.live.state import LiveState
from sightline_server.index.live.view import LiveView
from sightline_server.index.opening import build_snapshot
from sightline_server.index.schema import NO_COUNTS, living_facts
from sightline_server.index.snapshot import CatalogSnapshot, moment_of
from sightline_server.ports import LivingObserver

log = logging.getLogger(__name__)

Exchange = Callable[[Callable[[], None]], None]
"""Runs a step where leases are made, and waits for it."""
DEFAULT_POLICY = MergePolicy()
APPLIED = 32
"""Operations that a merge carries over between two waits for searches, some milliseconds of work."""


class BuildBase(Protocol):
    """Builds a base; `opening.build_snapshot`, which may be bound to further options."""

    def __call__(
        self,
        path: Path,
        name: str,
        embedders: Embedders,
        device: DeviceThread,
        *,
        may_be_empty: bool,
        number: int | None = None,
        held: Callable[[], HeldContent] | None = None,
        selects: bool | None = None,
    ) -> CatalogSnapshot:
        """See `opening.build_snapshot`."""


def here(work: Callable[[], None]) -> None:
    """Runs a step in the calling thread."""
    work()


class LiveIndex:
    """`catalog.published.Published` for the catalog at `path`, served under `name`; open from `open` to `close`.

    `on_base` is notified of the first view of each base, by `exchange`, in the moment from which on it is served. The
    store writes from another thread than that of `exchange`. A merge waits by `give_way`, so that searches go first.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        embedders: Embedders,
        device: DeviceThread,
        *,
        policy: MergePolicy = DEFAULT_POLICY,
        observer: LivingObserver = UNOBSERVED,
        build: BuildBase | None = None,
        exchange: Exchange = here,
        on_base: Callable[[LiveView], None] = lambda _view: None,
        clock: Callable[[], float] = time.monotonic,
        give_way: GiveWay = at_once,
    ) -> None:
        self.name = name
        self._path, self._embedders, self._device = path, embedders, device
        self._policy, self._observer, self._clock = policy, observer, clock
        self._exchange, self._on_base = exchange, on_base
        self._build_base = build
        self._turn = threading.Lock()
        """Held while what is published changes. The thread of `exchange` never takes it, so it may be waited for."""
        self._view: LiveView | None = None
        self._prepared = PreparedBase(path, name, device, self._build)
        self._revision: Revision
        self._merging = Merging(self._merge, name)
        self._give_way = give_way
        self._patience = Patience(give_way, clock)
        self._carried: list[Operation] = []
        self._content = 0
        """Counts the times that the content was replaced as a whole."""
        self._not_before = 0.0
        self._closed = False

    def view(self) -> LiveView:
        """The view at the number that is published. Raises `SightlineError` of kind INDEX_UNAVAILABLE if not open."""
        view = self._view
        if view is None:
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the catalog is not open", retry_after_s=1.0)
        return view

    @property
    def sizes(self) -> LiveSizes:
        """The sizes now. Raises as `view`."""
        view = self.view()
        return sizes_of(view, self._policy)

    def open(self) -> LiveView:
        """Builds the first base from what is on the disk; for the thread of the store, before its first write.

        Raises `SightlineError` as `open_snapshot`; a catalog without products is open.
        """
        self._replace(self._probed())
        return self.view()

    def apply(self, operations: Sequence[Operation]) -> None:
        """See `Published`."""
        with self._turn:
            view = self.view()
            self._publish(view.state, view.match, view.state.apply(operations, view.extent))
            if self._merging.running:
                self._carried += operations
            elif self._clock() >= self._not_before and self._policy.due(view.state, self.view().extent):
                self._patience = Patience(self._give_way, self._clock)
                self._merging.start()

    def checkpointed(self, revision: Revision) -> None:
        """See `Published`."""
        with self._turn:
            self._revision = revision
            view = self.view()
            self._publish(view.state, view.match, view.extent)

    def replaced(self, revision: Revision) -> None:
        """See `Published`. What is published until then is searched meanwhile.

        A content that differs in few products is made of the one that is served; else there is a new base.
        """
        began = self._clock()
        base = self._prepared.take(revision)
        if base is not None:
            self._replace(base, revision)
        elif not self._served_changed_to(revision):
            base = self._build()
            self._replace(base)
        if base is not None:
            make_later(base, self._prepared.wait, lambda: self._serves(base))
        log.info("catalog %s: content of revision %s in %.1f s", self.name, revision.name, self._clock() - began)

    def require(self, generation: Generation) -> None:
        """See `Published`."""
        try:
            self._embedders.serving(living_facts(generation.facts, NO_COUNTS).embedder)
        except SightlineError as error:
            message = f"no embedder of this server is that of generation {generation.number}: {error.message}"
            raise SightlineError(ErrorKind.EMBEDDER_NOT_SERVED, message, field="name") from error

    def preparing(self, revision: Revision) -> AbstractContextManager[bool]:
        """See `Published`: the base is built, which reads and checks every row, unless few products differ."""
        return self._prepared.preparing(revision, self._most_changes)

    def close(self) -> None:
        """Drops a merge that runs and waits for its end; no other one begins, and nothing is written from now on."""
        self._content += 1
        self._closed = True
        self.join()
        with self._turn:
            self._not_before = math.inf
        self._merging.close()

    def _serves(self, base: CatalogSnapshot) -> bool:
        """Returns whether `base` is the one that is searched now."""
        return not self._closed and self.view().state.base is base

    def join(self) -> None:
        """Waits for a merge that runs, if there is one; it no longer lets searches go first."""
        self._patience.end()
        self._merging.join()

    def _build(self, number: int | None = None, held: Callable[[], HeldContent] | None = None) -> CatalogSnapshot:
        build = self._build_base or build_snapshot
        place = (self._path, self.name, self._embedders, self._device)
        return build(*place, may_be_empty=True, number=number, held=held, selects=selects_of(self._view))

    @property
    def _most_changes(self) -> int:
        """The most products that a rollback changes in the base that is served."""
        return self._policy.changed_at(self.view().state.base_products)

    def _probed(
        self, held: Callable[[], HeldContent] | None = None, pause: Callable[[], None] = without_pause
    ) -> CatalogSnapshot:
        """The base of what is on the disk, or of `held`, with its probes."""
        base = self._build(held=held)
        base.make_probes(pause)
        return base

    def _held(self) -> Callable[[], HeldContent] | None:
        """The content that is served, for a merge; None where it is not held as it is searched."""
        with self._turn:
            view, revision, pause = self.view(), self._revision, self._patience.wait
        return partial(held_content, self._path, view, revision, self._device, pause) if is_held(view) else None

    def _served_changed_to(self, revision: Revision) -> bool:
        """`_changed_to`, and False when the changes cannot be read."""
        try:
            return self._changed_to(revision)
        except Exception:
            log.exception("catalog %s: the changes of a rollback cannot be read; a new base is built", self.name)
            return False

    def _changed_to(self, revision: Revision) -> bool:
        """Serves the content of `revision` on the base of now; returns whether its difference was small enough."""
        seq = self.view().extent.seq
        adapter = self.view().state.base.adapter
        changes = changes_to(self._path, revision, seq, self._revision, self._most_changes, adapter)
        if changes is None:
            return False
        with self._turn:
            view = self.view()
            if view.extent.seq != seq:
                return False
            extent = view.state.change(changes, view.extent)
            if (extent.products, extent.images) != (revision.rows, revision.items):
                raise ValueError(
                    f"{extent.products} products and {extent.images} images instead of those of {revision}"
                )
            self._revision = revision
            self._content += 1
            self._carried.clear()
            self._publish(view.state, view.match, extent)
            return True

    def _replace(self, base: CatalogSnapshot, revision: Revision | None = None) -> None:
        """Serves the content of `base` alone; as `revision`, which has the same content, where that is given."""
        state = LiveState(base, moment_of(base).seq if revision is None else revision.seq)

        def exchange() -> None:
            self._revision = revision or moment_of(base).revision
            self._content += 1
            self._carried.clear()
            self._publish(state, LiveMatching(state), state.start)
            self._on_base(self.view())

        with self._turn:
            self._exchange(exchange)

    def _merge(self) -> None:
        """One merge, in its own thread: logged and counted, and without effect when it fails."""
        began, content = self._clock(), self._content
        try:
            merged = self._carry_over(self._probed(self._held(), self._patience.wait), content)
        except Exception:  # whatever memory, files and the vector library meet, the base that is served stays
            self._note_failed(content)
        else:
            if merged:
                log.info("catalog %s: merged into a new base in %.1f s", self.name, self._clock() - began)
                self._observer.merged(self.name, self._clock() - began)
        finally:
            with self._turn:
                self._carried = []
                self._merging.ended()

    def _note_failed(self, content: int) -> None:
        """Notes a merge that raised; one whose content was replaced meanwhile may have lost its base and is dropped."""
        if self._content != content:
            log.info("catalog %s: merge dropped, because the content was replaced", self.name)
            return
        log.exception("catalog %s: merge failed; the base that is served stays", self.name)
        self._observer.merge_failed(self.name)
        self._not_before = self._clock() + self._policy.pause_s

    def _carry_over(self, base: CatalogSnapshot, content: int) -> bool:
        """Serves `base` with what was written while it was built; returns whether it does."""
        served = False

        def is_due() -> bool:
            # The store may not yet have reported a checkpoint or a rollback that is on the disk: the next merge.
            return self._content == content and moment_of(base).revision.number <= self._revision.number

        def exchange() -> None:
            nonlocal served
            self._publish(state, LiveMatching(state), extent)
            self._on_base(self.view())
            served = True

        try:
            if not is_due():  # what was carried may be of another embedder
                return False
            self._patience.wait()
            state = LiveState(base, moment_of(base).seq)
            extent, done = state.start, 0
            # More is written during the waits, and the writer waits for the last part.
            while is_due() and len(self._carried) - done > APPLIED:
                self._patience.wait()
                part = tuple(self._carried[done : done + APPLIED])
                extent, done = state.apply(part, extent), done + len(part)
            with self._turn:
                if is_due():
                    extent = state.apply(tuple(self._carried[done:]), extent)
                    self._exchange(exchange)
        finally:
            if not served:
                self._device.call(base.index.close)
        return served

    def _publish(self, state: LiveState, match: LiveMatching, extent: Extent) -> None:
        """Makes the view of `extent` the one that leases get from now on."""
        revision = name_at(self._revision, max(extent.seq, self._revision.seq))
        self._view = LiveView(state, match, extent, revision, self._revision.created_at)
