"""The parent for the length of a block: what it owns, in which order it starts, and in which it stops."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sightline_server.app.background import keep_certificates
from sightline_server.app.checks import check_settings
from sightline_server.app.engine import engine_session
from sightline_server.app.metrics_page import build_facts, start_metrics
from sightline_server.app.reload import CatalogReloader
from sightline_server.control.protocol import Reload, Reloaded
from sightline_server.domain.address import Address, parse_target
from sightline_server.domain.models import EMBEDDER
from sightline_server.errors import SightlineError
from sightline_server.ports import SharedEngine
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.tls import Certificates, open_certificates
from sightline_server.rpc.tls_files import Contents
from sightline_server.settings import Settings
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import EngineMetrics, Metrics
from sightline_server.telemetry.shared import forget_gauges, joined, metrics_folder, of_all
from sightline_server.workers.catalogs import SharedCatalogs
from sightline_server.workers.crew import Crew
from sightline_server.workers.port import held_port
from sightline_server.workers.process import WorkerProcess, start_worker
from sightline_server.workers.task import Task, share_of

log = logging.getLogger(__name__)

PARENT = "parent"
"""The parent's name among the metrics' files."""


@dataclass(frozen=True, slots=True)
class RunningCrew:
    """Workers that serve, and where."""

    address: str
    metrics_address: str
    crew: Crew
    reload: Callable[[], object]
    """Begins to open the catalogs and the TLS files again and to replace the workers one by one."""
    reload_catalogs: Reload
    """Opens catalogs again, replaces the workers where one has changed, and reports on each."""


@asynccontextmanager
async def serving_with_workers(settings: Settings) -> AsyncIterator[RunningCrew]:
    """`settings.server.workers` processes that serve, from warm-up to a graceful stop. Raises `SightlineError`."""
    certificates = open_certificates(settings.server)
    rpc_server.allowed_credentials(settings.server, certificates)
    folders = check_settings(settings)
    async with AsyncExitStack() as stack:
        address = stack.enter_context(held_port(settings.server.listen))
        folder = stack.enter_context(metrics_folder())
        stack.enter_context(joined(folder, PARENT))
        metrics = Metrics()
        metrics_address = start_metrics(stack, settings.server, of_all(folder))
        events = EngineMetrics(metrics)
        engine = await stack.enter_async_context(engine_session(settings, events))
        events.ready(engine.ready)
        engine.on_change(events.ready)
        metrics.build.labels(**build_facts(engine)).set(1)
        keep_certificates(stack, certificates)
        catalogs = SharedCatalogs(folders, engine.spec(EMBEDDER))
        stack.callback(catalogs.close)
        await catalogs.open_all()
        parent = Parent(settings, address, folder, engine, catalogs, certificates)
        crew = Crew(settings.server.workers, parent.hire, parent.tidy, metrics)
        stack.push_async_callback(crew.stop, settings.server.grace_s)
        await crew.start()
        reloader = CatalogReloader(catalogs, CatalogMetrics(metrics))
        replacing = Replacing(parent, crew, engine, reloader)
        engine.on_change(replacing.on_engine)
        stack.callback(replacing.end)
        yield RunningCrew(str(address), metrics_address, crew, replacing.reload, replacing.reload_catalogs)


class Parent:
    """What a worker is started with and what is done after its end."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        folder: Path,
        engine: SharedEngine,
        catalogs: SharedCatalogs,
        certificates: Certificates | None = None,
    ) -> None:
        self._settings = settings
        self._address = address
        self._folder = folder
        self._engine = engine
        self._catalogs = catalogs
        self._certificates = certificates

    async def hire(self, number: int) -> WorkerProcess:
        """Starts worker `number` on the engine's address and the catalogs of now."""
        embedded = self._settings.engine.triton_url is None
        # First: nothing may wait between reading the catalogs' descriptors and starting the process that inherits them.
        tls = await asyncio.to_thread(self._tls)
        task = Task(
            number=number,
            settings=share_of(self._settings, address=self._address, engine=parse_target(self._engine.address)),
            digests=dict(self._engine.digests) if embedded else {},
            metrics_folder=str(self._folder),
            catalogs=self._catalogs.shared,
            tls=tls,
        )
        return await start_worker(task, self._engine.give_up)

    def _tls(self) -> Contents | None:
        """What the TLS files held when they were last good."""
        if self._certificates is None:
            return None
        self._certificates.check()
        return self._certificates.used

    async def tidy(self, worker: WorkerProcess) -> None:
        """Its gauges count no more, and its pixels are kept by nobody."""
        forget_gauges(self._folder, str(worker.number))
        self._engine.forget_process(worker.identity)

    async def check_tls(self) -> None:
        """Reads the TLS files again; those that were good stay in use if they are not good now."""
        if self._certificates is not None:
            await asyncio.to_thread(self._certificates.check, force=True)


class Replacing:
    """Replaces the workers when that is asked for; a failure leaves those that serve as they are."""

    def __init__(self, parent: Parent, crew: Crew, engine: SharedEngine, catalogs: CatalogReloader) -> None:
        self._parent = parent
        self._crew = crew
        self._engine = engine
        self._catalogs = catalogs
        self._address = engine.address
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._reopen_waits = False

    def reload(self) -> None:
        """The catalogs again, then the workers one by one. A reload that has not begun does for all that ask for it."""
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
            if all(report.before == report.now for report in reports):
                return reports
            failure = await self._replace_workers()
        return [
            replace(report, error=f"workers were not replaced: {failure}")
            if failure and report.before != report.now
            else report
            for report in reports
        ]

    def on_engine(self, ready: bool) -> None:
        """An engine that came back on another port, because somebody took the old one, is unknown to the workers."""
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
        """Replaces the workers; why that failed, or nothing."""
        try:
            await self._crew.replace()
        except SightlineError as error:
            log.error("workers not replaced: %s", error.message)
            return error.message
        log.info("workers replaced")
        return ""

    def end(self) -> None:
        """Nothing is replaced any more."""
        for task in self._tasks:
            task.cancel()
