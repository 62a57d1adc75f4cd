"""The catalogs that follow the revisions of another server.

    SHARE -> copy in `path` (checked, exchanged) -> opened again as by `catalog reload` -> served
Rule: whatever is wrong with a source, what is served stays served. Each attempt is made again; what is behind is shown
by a metric, and each new reason is logged once.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from sightline_server.app.background import keep_running
from sightline_server.control.protocol import Reload
from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import bound, read_facts
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.replica import Replica
from sightline_server.settings import Settings
from sightline_server.telemetry.replication import ReplicationSeries

log = logging.getLogger(__name__)

EVERY_S = 1.0
MOST_WAIT_S = 10.0
"""Between two attempts where the last ones failed."""


class Operations(Protocol):
    """The operations of a followed catalog that its writer has published since the revision."""

    @property
    def in_step(self) -> bool:
        """True if all of them are served."""

    def taken(self, description: Description) -> None:
        """Notes that the copy on the disk is that of `description`, and is opened next."""


async def fetch_missing(settings: Settings) -> None:
    """Takes the published revision of each followed catalog that has no copy yet.

    Raises `SightlineError`: CONFIGURATION where its folder is another catalog's, INDEX_UNAVAILABLE where there is none.
    """
    for name, replica in replicas(settings, Replica).items():
        if not replica.exists:
            log.info("catalog %s: there is no copy yet, taking it from %s", name, settings.followed_catalogs[name])
            await asyncio.to_thread(replica.step)


async def renew_unservable(settings: Settings, embedders: Embedders) -> None:
    """Takes the published revision of each followed catalog whose copy this server cannot serve, and can that one.

    After a change of the embedder the server thus starts without an operator. A copy is kept where no published
    revision can replace it; opening it raises the error.
    """
    check = partial(require_servable, embedders)
    for name, replica in replicas(settings, partial(Replica, check=check)).items():
        try:
            await asyncio.to_thread(check, settings.catalog_folders[name])
        except SightlineError as error:
            log.warning("catalog %s: the copy cannot be served: %s", name, error.message)
            try:
                await asyncio.to_thread(replica.step)
            except (NotFollowedError, SightlineError) as refused:
                log.warning("catalog %s: nor can the published revision: %s", name, refused.message)


def require_servable(embedders: Embedders, folder: Path) -> None:
    """Raises `SightlineError` for a revision of another embedder, and for one without products."""
    if not bound(folder, read_facts(folder), embedders).products:
        message = f"the published revision of {folder} has no products; the one before is served"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def replicas(settings: Settings, make: Callable[[Path, Path], Replica]) -> dict[str, Replica]:
    """The copy of each followed catalog, by the catalog's name."""
    folders = settings.catalog_folders
    return {name: make(source, folders[name]) for name, source in settings.followed_catalogs.items()}


def keep_following(
    stack: AsyncExitStack,
    settings: Settings,
    embedders: Embedders,
    series: ReplicationSeries,
    reload: Reload,
    *,
    operations: Mapping[str, Operations] = MappingProxyType({}),
) -> None:
    """Follows the sources of the settings until `stack` ends; `reload` opens a copy that has changed.

    `operations` are those of catalogs that are served with what was written since their revisions.
    """
    make = partial(Replica, check=partial(require_servable, embedders))
    for name, replica in replicas(settings, make).items():
        follower = CatalogFollower(name, replica, series, reload, operations.get(name))
        keep_running(stack, follower.keep_following(), f"follow-{name}")


class CatalogFollower:
    """Keeps catalog `name` at the revision that its source has."""

    def __init__(
        self,
        name: str,
        replica: Replica,
        series: ReplicationSeries,
        reload: Reload,
        operations: Operations | None = None,
    ) -> None:
        self._name = name
        self._replica = replica
        self._series = series
        self._reload = reload
        self._operations = operations
        self._reload_due = False
        self._served: Description | None = None
        """The published revision that was served at the last check."""
        self._failures = 0
        self._failure = ""
        series.followed(name, tuple(reason.value for reason in Reason))

    async def keep_following(self) -> None:
        """Follows until it is cancelled: every second, and less often as long as it fails."""
        while True:
            await self.check()
            await asyncio.sleep(min(EVERY_S * 2 ** min(self._failures, 10), MOST_WAIT_S))

    async def check(self) -> None:
        """Takes and serves the published revision if it is another one."""
        try:
            failed = await self._open()
            # Also where the copy cannot be opened: only a later revision may end that.
            if await asyncio.to_thread(self._replica.step) is not None:
                self._reload_due = True
                if self._operations is not None and self._replica.newest is not None:
                    self._operations.taken(self._replica.newest)
                failed = await self._open()
            if failed is not None:
                raise failed
        except NotFollowedError as error:
            self._behind(error.reason, error.message)
        except Exception as error:  # whatever is wrong, the next attempt may succeed
            known = isinstance(error, SightlineError | OSError)
            self._behind(Reason.OTHER, str(error) if known else f"{type(error).__name__}")
            if not known:
                log.exception("catalog %s", self._name)
        else:
            if self._failures:
                log.info("catalog %s is in step with its source again", self._name)
            self._served, self._failures, self._failure = self._replica.newest, 0, ""
            if self._operations is None or self._operations.in_step:
                self._series.in_step(self._name)

    async def _open(self) -> NotFollowedError | None:
        """Serves the copy if it has changed. Returns why that failed; the next check tries it again."""
        if not self._reload_due:
            return None
        [report] = await self._reload([self._name])
        if report.error:
            return NotFollowedError(Reason.RELOAD, report.error)
        self._reload_due = False
        return None

    def _behind(self, reason: Reason, message: str) -> None:
        self._failures += 1
        if message != self._failure:
            log.warning("catalog %s stays at its revision (%s): %s", self._name, reason.value, message)
        self._failure = message
        newest, published_at = self._replica.newest, None
        if newest is not None and newest is not self._served:
            published_at = datetime.fromisoformat(newest.published_at).timestamp()
        self._series.behind(self._name, reason.value, published_at)
