"""The parent for the length of a block: what it owns, in which order it starts, and in which it stops."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from sightline_server.access.quotas.tables import SharedTables
from sightline_server.app.access import open_access_files
from sightline_server.app.background import keep_access_files, keep_certificates
from sightline_server.app.checks import check_settings
from sightline_server.app.consent import WatchedFiles, open_grant_file, watched_files
from sightline_server.app.engine import engine_session
from sightline_server.app.following import fetch_missing, keep_following, renew_unservable
from sightline_server.app.metrics_page import build_facts, start_metrics
from sightline_server.app.pseudonyms import keep_pseudonym_keys
from sightline_server.app.publishing import keep_publishing, make_publishers
from sightline_server.app.ranking_weights import served_weights
from sightline_server.app.reload import CatalogReloader
from sightline_server.app.running import Running
from sightline_server.app.used_grants import shared_by_workers
from sightline_server.domain.address import Address, parse_target
from sightline_server.domain.weights import Weights
from sightline_server.ports import SharedEngine
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.listener.tls import Certificates, open_certificates
from sightline_server.rpc.listener.tls_files import Contents
from sightline_server.settings import Settings
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.shared import forget_gauges, joined, metrics_folder, of_all
from sightline_server.workers.catalogs import CopyOfWorkers, SharedCatalogs
from sightline_server.workers.crew import Crew
from sightline_server.workers.port import held_port
from sightline_server.workers.process import WorkerProcess, start_worker
from sightline_server.workers.replacing import Replacing
from sightline_server.workers.task import Task, share_of

PARENT = "parent"
"""The parent's name among the metrics' files."""


@asynccontextmanager
async def serving_with_workers(settings: Settings) -> AsyncIterator[Running]:
    """`settings.server.workers` processes that serve, from warm-up to a graceful stop. Raises `SightlineError`."""
    certificates = open_certificates(settings.server)
    rpc_server.allowed_credentials(settings.server, certificates)
    access_files = watched_files(open_access_files(settings), open_grant_file(settings))
    await fetch_missing(settings)
    folders = check_settings(settings)
    async with AsyncExitStack() as stack:
        settings = shared_by_workers(stack, settings)
        address = stack.enter_context(held_port(settings.server.listen))
        folder = stack.enter_context(metrics_folder())
        stack.enter_context(joined(folder, PARENT))
        metrics = Metrics()
        metrics_address = start_metrics(stack, settings.server, of_all(folder))
        events = EngineMetrics(metrics.engine)
        engine = await stack.enter_async_context(engine_session(settings, events))
        events.ready(engine.ready)
        engine.on_change(events.ready)
        metrics.build.labels(**build_facts(engine)).set(1)
        keep_certificates(stack, certificates)
        keep_access_files(stack, access_files)
        await renew_unservable(settings, engine.embedders)
        catalogs = SharedCatalogs(folders, engine.embedders)
        stack.callback(catalogs.close)
        await catalogs.open_all()
        quotas = shared_quotas(stack, settings) if access_files else None
        weights = served_weights(settings, engine.embedders)
        parent = Parent(settings, address, folder, engine, catalogs, certificates, access_files, quotas, weights)
        crew = Crew(settings.server.workers, parent.hire, parent.tidy, metrics)
        stack.push_async_callback(crew.stop, settings.server.grace_s)
        await crew.start()
        reloader = CatalogReloader(catalogs, CatalogMetrics(metrics))
        copies = {name: CopyOfWorkers(folders[name]) for name in settings.followed_catalogs}
        replacing = Replacing(parent, crew, engine, reloader, tuple(copies.values()))
        engine.on_change(replacing.on_engine)
        stack.callback(replacing.end)
        keep_following(
            *(stack, settings, engine.embedders, metrics.replication, replacing.reload_catalogs), operations=copies
        )
        keep_publishing(stack, make_publishers(settings), metrics.replication)
        yield Running(str(address), metrics_address, replacing.reload, replacing.reload_catalogs)


def shared_quotas(stack: AsyncExitStack, settings: Settings) -> SharedTables:
    """The tables of quotas of the workers, until `stack` ends. Raises `SightlineError`."""
    tables = SharedTables(settings.server.workers)
    stack.callback(tables.close)
    keep_pseudonym_keys(stack, tables.keys, settings.pseudonym_quota)
    return tables


class Parent:
    """The parent of the workers: starts each with its settings, and removes its gauges and memory after its end."""

    def __init__(
        self,
        settings: Settings,
        address: Address,
        folder: Path,
        engine: SharedEngine,
        catalogs: SharedCatalogs,
        certificates: Certificates | None = None,
        access_files: WatchedFiles | None = None,
        quotas: SharedTables | None = None,
        weights: Mapping[str, Weights] = MappingProxyType({}),
    ) -> None:
        self._settings = settings
        self._address = address
        self._folder = folder
        self._engine = engine
        self._catalogs = catalogs
        self._certificates = certificates
        self._access_files = access_files
        self._quotas = quotas
        self._weights = dict(weights)

    async def hire(self, number: int) -> WorkerProcess:
        """Starts worker `number` on the engine's address and the current catalogs."""
        embedded = self._settings.engine.triton_url is None
        # First: nothing may wait between reading the catalogs' descriptors and starting the process that inherits them.
        tls = await asyncio.to_thread(self._tls)
        access = await asyncio.to_thread(self._access)
        task = Task(
            number=number,
            settings=share_of(
                self._settings,
                address=self._address,
                engine=parse_target(self._engine.address),
                embedders=[each.role for each in self._engine.embedders.models[1:]],
                text_encoders=[each.role for each in self._engine.text_encoders.values()],
            ),
            digests=dict(self._engine.digests) if embedded else {},
            metrics_folder=str(self._folder),
            catalogs=self._catalogs.shared,
            tls=tls,
            access=access,
            quotas=self._quotas.descriptor if self._quotas else None,
            weights=self._weights,
        )
        return await start_worker(task, self._engine.give_up)

    def _tls(self) -> Contents | None:
        """The contents of the TLS files when they were last valid."""
        if self._certificates is None:
            return None
        self._certificates.check()
        return self._certificates.used

    def _access(self) -> dict[str, bytes]:
        """The contents of the files of access when they were last valid."""
        if self._access_files is None:
            return {}
        self._access_files.check()
        return self._access_files.contents

    async def tidy(self, worker: WorkerProcess) -> None:
        """Removes a dead worker's gauges, shared-memory regions and calls inside."""
        if self._quotas is not None:
            self._quotas.forget(worker.number)
        forget_gauges(self._folder, str(worker.number))
        self._engine.forget_process(worker.identity)

    async def check_tls(self) -> None:
        """Reads the TLS files and those of access again; if they are invalid now, the last valid ones stay in use."""
        if self._certificates is not None:
            await asyncio.to_thread(self._certificates.check, force=True)
        if self._access_files is not None:
            await asyncio.to_thread(self._access_files.check, force=True)
