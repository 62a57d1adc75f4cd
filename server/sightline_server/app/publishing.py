"""The catalogs whose revisions this server publishes for others that follow it.

Rule: the catalog is only read. What cannot be published is tried again, and each new reason is logged once.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

from sightline_server.app.background import keep_running
from sightline_server.app.following import EVERY_S, MOST_WAIT_S
from sightline_server.errors import SightlineError
from sightline_server.index.replication.publisher import Publisher
from sightline_server.settings import Settings
from sightline_server.telemetry.replication import ReplicationSeries

log = logging.getLogger(__name__)


def make_publishers(settings: Settings) -> dict[str, Publisher]:
    """The publisher of each catalog for which the settings say so."""
    folders = settings.catalog_folders
    return {name: Publisher(folders[name], share) for name, share in settings.published_catalogs.items()}


def keep_publishing(stack: AsyncExitStack, publishers: Mapping[str, Publisher], series: ReplicationSeries) -> None:
    """Publishes the catalogs of `publishers` until `stack` ends."""
    for name, publisher in publishers.items():
        publishing = CatalogPublishing(name, publisher, series)
        keep_running(stack, publishing.keep_publishing(), f"publish-{name}")


class CatalogPublishing:
    """Publishes each new revision of catalog `name`, and what was written since."""

    def __init__(self, name: str, publisher: Publisher, series: ReplicationSeries) -> None:
        self._name = name
        self._publisher = publisher
        self._series = series
        self._failures = 0
        self._failure = ""
        series.published(name)

    async def keep_publishing(self) -> None:
        """Publishes until it is cancelled: every second, and less often as long as it fails."""
        while True:
            await self.check()
            await asyncio.sleep(min(EVERY_S * 2 ** min(self._failures, 10), MOST_WAIT_S))

    async def check(self) -> None:
        """Publishes the current revision if it is not published yet."""
        try:
            published = await asyncio.to_thread(self._publisher.step)
        except Exception as error:  # whatever is wrong, the next attempt may succeed
            known = isinstance(error, SightlineError | OSError)
            message = str(error) if known else type(error).__name__
            if message != self._failure:
                log.warning("catalog %s is not published: %s", self._name, message, exc_info=not known)
            self._failures, self._failure = self._failures + 1, message
            return
        self._failures, self._failure = 0, ""
        self._series.published(self._name)
        if published is not None:
            log.info("catalog %s: revision %s is published", self._name, published.name)
