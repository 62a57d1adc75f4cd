"""The catalogs in Milvus: opened, followed to new revisions, and away as long as their Milvus is.

    connect -> alias -> checked -> published -> probed every second -> away -> connect again, each time later
Rule: one catalog that is away refuses its own calls, before their photos are decoded, and no others. The server starts
without it, and takes it in when it is back.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sightline_server.app.background import keep_running
from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.registry import Registry
from sightline_server.settings import Settings
from sightline_server.settings.catalogs import ServedCatalogSettings
from sightline_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from sightline_server.index.milvus.client import Milvus
    from sightline_server.index.milvus.live import MilvusLive
    from sightline_server.index.milvus.snapshot import MilvusSnapshot

log = logging.getLogger(__name__)

PROBE_EVERY_S = 1.0
CALL_S = 2.0
"""Longest time of a search in Milvus and of a probe: a Milvus that is slower is away."""
MOST_WAIT_S = 10.0
"""Between two attempts to connect."""


async def keep_milvus_catalogs(
    stack: AsyncExitStack,
    settings: Settings,
    registry: Registry,
    embedders: Embedders,
    metrics: Metrics,
    live: "Mapping[str, MilvusLive]",
) -> None:
    """Opens the catalogs in Milvus and keeps them in `registry` until `stack` ends; those that are away are refused.

    This process writes those of `live`. Returns after the first attempt of each. Raises `SightlineError` of kind
    CONFIGURATION without the package pymilvus.
    """
    catalogs = settings.milvus_catalogs
    if not catalogs:
        return
    require_pymilvus()
    keepers = [
        MilvusKeeper(name, part, registry, embedders, metrics, live.get(name)) for name, part in catalogs.items()
    ]
    for keeper in keepers:
        stack.push_async_callback(keeper.close)
    await asyncio.gather(*(keeper.check() for keeper in keepers))
    for keeper in keepers:
        keep_running(stack, keeper.keep_checking(), f"milvus-{keeper.name}")


def require_pymilvus() -> None:
    """Raises `SightlineError` of kind CONFIGURATION where the package is not installed."""
    try:
        import sightline_server.index.milvus.client  # noqa: F401
    except ImportError as error:
        message = "a catalog in Milvus needs the package pymilvus: pip install 'sightline[milvus]'"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error


class CallMetrics:
    """`index.milvus.client.CallObserver` for one catalog."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name, self._metrics = name, metrics

    def called(self, call: str, seconds: float, *, failed: bool) -> None:
        """See `CallObserver`."""
        self._metrics.milvus_call_seconds.labels(self._name, call).observe(seconds)
        if failed:
            self._metrics.milvus_failures.labels(self._name, call).inc()


class MilvusKeeper:
    """Keeps catalog `name` in `registry`: its active revision, or away. For the event loop; calls run in threads."""

    def __init__(
        self,
        name: str,
        part: ServedCatalogSettings,
        registry: Registry,
        embedders: Embedders,
        metrics: Metrics,
        live: "MilvusLive | None" = None,
    ) -> None:
        self.name = name
        self._live = live
        self._part, self._registry, self._embedders = part, registry, embedders
        self._metrics = metrics
        self._milvus: Milvus | None = None
        self._opened: MilvusSnapshot | None = None
        self._failures = 0

    async def keep_checking(self) -> None:
        """Checks until it is cancelled: every second, and less often as long as it is away."""
        while True:
            await asyncio.sleep(min(PROBE_EVERY_S * 2 ** min(self._failures, 10), MOST_WAIT_S))
            await self.check()

    async def check(self) -> None:
        """Opens the active revision if it is another one; sets the catalog away where it cannot be searched."""
        began = time.monotonic()
        try:
            await self._follow()
        except Exception as error:  # whatever is wrong with one catalog, it is checked again
            await self._set_away(error)
            return
        if self._failures:
            log.info("catalog %s: its Milvus is back, checked in %.1f s", self.name, time.monotonic() - began)
        self._failures = 0
        self._set_available(True)

    async def close(self) -> None:
        """Closes the connection."""
        if self._milvus is not None:
            milvus, self._milvus = self._milvus, None
            await asyncio.to_thread(milvus.close)

    async def _follow(self) -> None:
        from sightline_server.index.milvus.names import alias_of
        from sightline_server.index.milvus.opening import open_collection

        if self._milvus is None:
            self._milvus, self._opened = await asyncio.to_thread(self._connected), None
        if self._live is not None:
            opened = await asyncio.to_thread(self._live.follow, self._milvus)
            if opened is not None:
                self._registry.publish(opened, self._live.view)
            return
        active = await asyncio.to_thread(self._milvus.active, alias_of(self.name), limit_s=CALL_S)
        if self._opened is None or active != self._opened.collection:
            self._opened = await asyncio.to_thread(open_collection, self._milvus, self.name, self._embedders)
            self._registry.publish(self._opened)
        self._opened.forget_filters()

    def _connected(self) -> "Milvus":
        from sightline_server.index.milvus.client import Milvus

        part = self._part
        token = part.token_file.read_text("utf-8").strip() if part.token_file else ""
        ca_file = str(part.ca_file) if part.ca_file else ""
        return Milvus(
            part.uri, token=token, ca_file=ca_file, call_s=CALL_S, observer=CallMetrics(self.name, self._metrics)
        )

    async def _set_away(self, error: Exception) -> None:
        if not self._failures:
            reason = error.message if isinstance(error, SightlineError) else type(error).__name__
            log.warning("catalog %s is away: %s", self.name, reason)
        self._failures += 1
        self._set_available(False)
        if self._live is not None:
            await asyncio.to_thread(self._live.lose, error if isinstance(error, SightlineError) else None)
        await self.close()

    def _set_available(self, available: bool) -> None:
        self._registry.set_away(self.name, not available)
        self._metrics.catalog_available.labels(self.name).set(available)
