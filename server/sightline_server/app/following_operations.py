"""The operations that the writer of a followed catalog has published since its revision, in each process that serves.

    OPERATIONS -> segments (checked) -> applied to the served base -> every later search
Rule: whatever is wrong with a segment, what is served stays served, and what comes before that segment is applied. A
replica goes on with the next attempt, or with the next revision.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

from sightline_server.app.background import keep_running
from sightline_server.app.catalogs import naming
from sightline_server.app.following import EVERY_S, MOST_WAIT_S
from sightline_server.domain.embedders import Embedders
from sightline_server.errors import SightlineError
from sightline_server.index.choice.choosing import IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.followed import FollowedIndex
from sightline_server.index.replication.operations_reader import OperationsReader
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.replica import description_of
from sightline_server.index.replication.tail import Segment, Tail
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.telemetry.replication import ReplicationSeries

log = logging.getLogger(__name__)

OpenBase = Callable[[str, DeviceThread], Awaitable[CatalogSnapshot]]
"""Opens the revision of a catalog by its name, on a device thread. Raises as `open_snapshot`."""


class FollowedCatalogs:
    """The catalogs in `folders` that follow `sources`, with the operations that are published since their revisions.

    `open_base` opens the revision of a catalog where that is not read from its folder. `worker` is the number of a
    worker, whose parent follows the revisions: only the first one keeps what it applied for a restart.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        sources: Mapping[str, Path],
        policy: IndexPolicy,
        series: ReplicationSeries,
        *,
        open_base: OpenBase | None = None,
        worker: int | None = None,
    ) -> None:
        self._folders, self._sources, self._policy, self._series = folders, sources, policy, series
        self._open_base = open_base or self._read
        self._worker = worker
        self.indexes: dict[str, FollowedIndex] = {}
        self.followers: dict[str, OperationsFollower] = {}

    async def publish(self, registry: Registry, device: DeviceThread, embedders: Embedders) -> None:
        """Opens each catalog and serves it, with the operations that can be read. Raises `SightlineError`."""
        self._device, self._embedders = device, embedders
        for name, folder in self._folders.items():
            index = self.indexes[name] = FollowedIndex(registry.publish)
            alone = self._worker is None
            reader = OperationsReader(self._sources[name], folder, keeps=alone or self._worker == 1)
            self.followers[name] = OperationsFollower(name, reader, index, self._series, says_in_step=not alone)
            with naming(name, self._folders):
                await self.open(name)
                await self.followers[name].begin()

    async def open(self, name: str) -> None:
        """Opens the copy of catalog `name` and serves it. Raises as `open_snapshot`."""
        folder = self._folders[name]
        description = await asyncio.to_thread(description_of, folder)
        opened = await self._open_base(name, self._device)
        known = description is not None and description.name == opened.revision
        await self.indexes[name].replace(opened, description if known else None)

    async def _read(self, name: str, device: DeviceThread) -> CatalogSnapshot:
        return await open_snapshot(self._folders[name], name, self._embedders, device, self._policy)

    def keep_following(self, stack: AsyncExitStack) -> None:
        """Takes operations every second until `stack` ends."""
        for name, follower in self.followers.items():
            keep_running(stack, follower.keep_following(), f"follow-operations-{name}")


class OperationsFollower:
    """Applies the operations that `reader` finds to `index`, which is catalog `name`.

    `says_in_step` is for a process that does not follow the revisions itself: the metric of a server is the earliest
    time of all its processes.
    """

    def __init__(
        self,
        name: str,
        reader: OperationsReader,
        index: FollowedIndex,
        series: ReplicationSeries,
        *,
        says_in_step: bool = False,
    ) -> None:
        self._name, self._reader, self._index, self._series = name, reader, index, series
        self._says_in_step = says_in_step
        self._next: Segment | None = None
        """The first segment that is not applied."""
        self._noted: Tail | None = None
        """The operations that a restart will find."""
        self._waits = False
        """True if operations are published that need a revision which is not served."""
        self._failures = 0
        self._failure = ""

    @property
    def in_step(self) -> bool:
        """See `following.Operations`: true if the last check applied all that is published."""
        return not self._failures and not self._waits

    def taken(self, description: Description) -> None:
        """See `following.Operations`."""
        self._index.taken(description)

    async def begin(self) -> None:
        """Applies what was applied before a restart, and what is published. Failures are logged."""
        if self._says_in_step:
            self._series.followed(self._name, tuple(reason.value for reason in Reason))
        try:
            await self._apply(await asyncio.to_thread(self._reader.kept))
        except Exception as error:  # what is published may have it, too
            log.warning("catalog %s: operations of before the restart are lost (%s)", self._name, type(error).__name__)
        await self.check()

    async def keep_following(self) -> None:
        """Follows until it is cancelled: every second, and less often as long as it fails."""
        while True:
            await asyncio.sleep(min(EVERY_S * 2 ** min(self._failures, 10), MOST_WAIT_S))
            await self.check()

    async def check(self) -> None:
        """Applies what is new."""
        self._next = None
        try:
            await self._apply(await asyncio.to_thread(self._reader.published))
        except NotFollowedError as error:
            self._behind(error.reason, error.message)
        except Exception as error:  # whatever memory and rows meet, the next attempt may succeed
            known = isinstance(error, SightlineError | OSError | ValueError)
            self._behind(Reason.OTHER, str(error) if known else type(error).__name__)
            if not known:
                log.exception("catalog %s", self._name)
        else:
            if self._failures:
                log.info("catalog %s has the operations of its source again", self._name)
            self._failures, self._failure = 0, ""
            if self._says_in_step and not self._waits:
                self._series.in_step(self._name)

    async def _apply(self, tail: Tail | None) -> None:
        """Serves the operations of `tail`. Where its base is another one, the next revision is waited for."""
        base = self._index.description
        self._waits = False
        if tail is None or base is None or base.living is None:
            return
        segments = tail.after(self._index.seq) if tail.fits(base) else ()
        # A tool may copy OPERATIONS before the description of its revision.
        self._waits = not segments and tail.is_ahead(base, self._index.seq)
        for segment in segments:
            self._next = segment
            operations = await asyncio.to_thread(self._reader.operations, segment, base.living.layout)
            before = self._index.seq
            if not await self._index.apply(operations, base):
                return
            self._series.applied(self._name, self._index.seq - before)
        if self._index.seq == tail.last and tail != self._noted:
            await asyncio.to_thread(self._reader.applied, tail, base.living.revision.seq)
            self._noted = tail

    def _behind(self, reason: Reason, message: str) -> None:
        self._failures += 1
        if message != self._failure:
            log.warning("catalog %s: operations are not applied (%s): %s", self._name, reason.value, message)
        self._failure = message
        waiting = self._next
        since = None if waiting is None else datetime.fromisoformat(waiting.published_at).timestamp()
        self._series.behind(self._name, reason.value, since)
