"""The served base of a replica, and the operations that its writer has published on top of it.

    base opened -> operations that it does not have, applied again -> served
    operations -> applied -> the view of a new number
Rule: what was served is never reverted: a new base is served together with the operations that were applied before
and that it does not have. There are no merges, because the writer's next revision is a new base.
"""

import asyncio
from collections.abc import Callable, Sequence

from sightline_server.catalog.content import name_at
from sightline_server.catalog.operations import Operation
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.matching import LiveMatching
from sightline_server.index.live.state import LiveState
from sightline_server.index.live.view import LiveView
from sightline_server.index.registry import ClosableSnapshot
from sightline_server.index.replication.description import Description
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.ports import Snapshot

PublishSnapshot = Callable[[ClosableSnapshot, Callable[[], Snapshot] | None], None]
"""`Registry.publish`."""


class FollowedIndex:
    """A followed catalog, served by `publish`. For the event loop; what takes time is done in other threads."""

    def __init__(self, publish: PublishSnapshot) -> None:
        self._publish = publish
        self._turn = asyncio.Lock()
        self._base: CatalogSnapshot | None = None
        self._view: LiveView | None = None
        self._applied: list[Operation] = []
        """The operations on top of the base."""
        self._outdated = False
        self.description: Description | None = None
        """The published revision that is the base; None where operations cannot be applied to it."""

    @property
    def identity(self) -> tuple[str, str] | None:
        """The revision of the base and when it was built; None before there is one.

        Without the time where the copy has to be opened again, although its revision has the same name.
        """
        if self._base is None:
            return None
        return self._base.revision, "" if self._outdated else self._base.built_at

    @property
    def seq(self) -> int:
        """The last operation that is served; 0 where no operations can be applied."""
        return 0 if self._view is None else self._view.extent.seq

    def taken(self, description: Description) -> None:
        """Notes that the copy on the disk is that of `description` now."""
        self._outdated = self.description is not None and not description.continues(self.description)

    async def replace(self, base: CatalogSnapshot, description: Description | None) -> None:
        """Serves `base`, with the operations that it does not have, where it `continues` the base before.

        `description` is that of the revision; None, and one of a catalog without a log, leaves operations out. Raises
        what memory and rows give cause to, and closes `base`; what is served stays.
        """
        async with self._turn:
            if description is None or description.living is None:
                self._base, self._view, self._applied, self.description = base, None, [], None
                self._outdated = False
                self._publish(base, None)
                return
            before = self._applied if description.continues(self.description) else []
            carried = [each for each in before if each.seq > description.living.revision.seq]
            try:
                state, extent = await asyncio.to_thread(applied_to, base, description.living.revision.seq, carried)
            except BaseException:
                await base.close()
                raise
            self._base, self._applied, self.description = base, carried, description
            self._outdated = False
            match = LiveMatching(state)
            self._view = self._named(state, match, extent)
            # Metrics name the revision alone, so that replicas which have the same one compare equal.
            self._publish(self._named(state, match, state.start), self.view)

    async def apply(self, operations: Sequence[Operation], on: Description) -> bool:
        """Serves `operations`, which are on top of what is served; False where its base is not `on` any more.

        Those that are served already are left out. Raises `ValueError` where one is missing, and what memory and rows
        give cause to; what is served stays.
        """
        async with self._turn:
            view = self._view
            if self.description is not on or view is None:
                return False
            new = [each for each in operations if each.seq > view.extent.seq]
            if new and new[0].seq != view.extent.seq + 1:
                raise ValueError(f"operation {view.extent.seq + 1} is missing before {new[0].seq}")
            extent = await asyncio.to_thread(view.state.apply, new, view.extent)
            self._applied += new
            self._view = self._named(view.state, view.match, extent)
            return True

    def view(self) -> Snapshot:
        """The view of the last operation."""
        assert self._view is not None
        return self._view

    def _named(self, state: LiveState, match: LiveMatching, extent: Extent) -> LiveView:
        assert self.description is not None
        assert self.description.living is not None
        revision = self.description.living.revision
        return LiveView(state, match, extent, name_at(revision, extent.seq), revision.created_at)


def applied_to(base: CatalogSnapshot, seq: int, operations: Sequence[Operation]) -> tuple[LiveState, Extent]:
    """The state of `base`, whose content is that after operation `seq`, with `operations`."""
    state = LiveState(base, seq)
    return state, state.apply(operations, state.start)
