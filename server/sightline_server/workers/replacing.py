"""The replacement of workers: on SIGHUP and on command with the catalogs opened again, and when the engine has moved.

Rule: one replacement at a time; a failure leaves the workers that serve as they are.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from sightline_server.control.protocol import Reloaded
from sightline_server.errors import SightlineError

log = logging.getLogger(__name__)


class TlsKeeper(Protocol):
    """The owner of the TLS files that workers are started with."""

    async def check_tls(self) -> None:
        """Reads the TLS files again; the former ones stay in use if the new ones are not valid."""


class ReplaceableWorkers(Protocol):
    """Workers that can be replaced one by one; `Crew` is one."""

    async def replace(self) -> None:
        """Replaces every worker. Raises the `SightlineError` of the first that cannot be replaced."""


class EngineAddress(Protocol):
    """The address of the engine that workers call; a part of `SharedEngine`."""

    @property
    def address(self) -> str:
        """gRPC address of the model server: HOST:PORT or unix:PATH."""


class Reloader(Protocol):
    """The catalogs that are opened again; `CatalogReloader` is one."""

    async def reload(self, names: Sequence[str] = ()) -> list[Reloaded]:
        """Opens the catalogs `names` again, all of them where it is empty, and reports on each."""


class Copy(Protocol):
    """The copy of a followed catalog."""

    outdated: bool
    """True if the workers must be replaced although its revision has the name of the one that they serve."""


class Replacing:
    """Replaces the workers when that is asked for; a failure leaves those that serve as they are."""

    def __init__(
        self,
        parent: TlsKeeper,
        crew: ReplaceableWorkers,
        engine: EngineAddress,
        catalogs: Reloader,
        copies: Sequence[Copy] = (),
    ) -> None:
        self._parent = parent
        self._copies = copies
        self._crew = crew
        self._engine = engine
        self._catalogs = catalogs
        self._address = engine.address
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._reopen_waits = False

    def reload(self) -> None:
        """Opens the catalogs again, then replaces the workers one by one. Requests that wait share one reload."""
        if self._reopen_waits:
            log.info("SIGHUP: the workers wait to be replaced already")
            return
        log.info("SIGHUP: opening the catalogs again and replacing the workers")
        self._reopen_waits = True
        self._begin(reopen=True)

    async def reload_catalogs(self, names: Sequence[str] = ()) -> list[Reloaded]:
        """Opens catalogs again, and replaces the workers if one of them has changed."""
        async with self._turn:
            reports = await self._catalogs.reload(names)
            outdated = any(copy.outdated for copy in self._copies)
            if not outdated and all(report.before == report.now for report in reports):
                return reports
            failure = await self._replace_workers()
        return [
            replace(report, error=f"workers were not replaced: {failure}")
            if failure and (outdated or report.before != report.now)
            else report
            for report in reports
        ]

    def on_engine(self, ready: bool) -> None:
        """Replaces the workers after the engine came back on another port, which they do not know."""
        if ready and self._engine.address != self._address:
            log.warning("the engine is at %s now: replacing the workers", self._engine.address)
            self._address = self._engine.address
            self._begin(reopen=False)

    def _begin(self, *, reopen: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._replace(reopen=reopen))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace(self, *, reopen: bool) -> None:
        async with self._turn:
            if reopen:
                self._reopen_waits = False
                await self._parent.check_tls()
                reports = await self._catalogs.reload()
                if all(report.error for report in reports):
                    log.error("workers not replaced: %s", reports[0].error)
                    return
            await self._replace_workers()

    async def _replace_workers(self) -> str:
        """Replaces the workers. Returns the reason of a failure, else an empty text."""
        outdated = [copy for copy in self._copies if copy.outdated]
        try:
            await self._crew.replace()
        except SightlineError as error:
            log.error("workers not replaced: %s", error.message)
            return error.message
        for copy in outdated:
            copy.outdated = False
        log.info("workers replaced")
        return ""

    def end(self) -> None:
        """Stops replacing."""
        for task in self._tasks:
            task.cancel()
