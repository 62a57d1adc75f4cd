"""Tasks that run next to the calls of a process until its exit stack ends."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager

from sightline_server.access.file_in_use import CHECK_S
from sightline_server.access.own import own_pass
from sightline_server.app.clock import clock
from sightline_server.app.consent import WatchedFiles
from sightline_server.index.live.view import base_of
from sightline_server.index.registry import Registry
from sightline_server.ports import Snapshot
from sightline_server.rpc.listener.tls import Certificates
from sightline_server.search.find import QueriesBatcher
from sightline_server.search.freshness import FreshnessObserver, FreshnessProber
from sightline_server.search.recall import RecallProber
from sightline_server.stages.uncancelled import cancelled
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.usage import Usage


def keep_running(stack: AsyncExitStack, work: Coroutine[object, object, None], name: str) -> None:
    """Runs `work`, which never ends by itself, until `stack` ends."""
    task = asyncio.create_task(work, name=name)
    stack.callback(task.cancel)


def keep_telling_usage(stack: AsyncExitStack, metrics: Metrics, worker: str) -> None:
    """Reports the CPU, memory and descriptors of this process as those of `worker`."""
    keep_running(stack, Usage(metrics, worker).keep_telling(), "usage")


def keep_certificates(stack: AsyncExitStack, certificates: Certificates | None) -> None:
    """Checks the TLS files, if there are any."""
    if certificates is not None:
        keep_running(stack, certificates.keep_checking(), "tls-files")


def keep_access_files(stack: AsyncExitStack, files: WatchedFiles | None) -> None:
    """Checks the policy and the files that identify callers and verify grants, if there are any."""
    if files is not None:
        keep_running(stack, checking(files), "access-files")


async def checking(files: WatchedFiles) -> None:
    """Checks `files` every `CHECK_S` seconds until it is cancelled."""
    while True:
        await asyncio.sleep(CHECK_S)
        await asyncio.to_thread(files.check)


def keep_measuring_recall(
    stack: AsyncExitStack, registry: Registry, queries: QueriesBatcher, metrics: CatalogMetrics, every_s: float
) -> None:
    """Measures the live recall of the catalogs in `registry` through `queries`; not at all where `every_s` is 0.

    Of a catalog that is written, the base is measured: what was written since is compared exactly.
    """
    if not every_s:
        return

    @contextmanager
    def lease(name: str) -> Iterator[Snapshot]:
        with registry.lease(own_pass(name)) as snapshot:
            yield base_of(snapshot)

    prober = RecallProber(lease, queries, metrics, every_s=every_s, clock=clock)
    registry.add_observer(prober)
    # It is waited for: a set holds a lease, and its batch is of the batcher that closes next.
    stack.push_async_callback(cancelled, asyncio.create_task(prober.keep_measuring(), name="recall"))


def keep_checking_freshness(
    stack: AsyncExitStack, registry: Registry, queries: QueriesBatcher, observer: FreshnessObserver
) -> FreshnessProber:
    """The prober to which writers of the catalogs in `registry` report; its checks end with `stack`."""
    prober = FreshnessProber(lambda name: registry.lease(own_pass(name)), queries, observer, clock=clock)
    stack.push_async_callback(prober.close)
    return prober
