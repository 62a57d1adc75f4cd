"""A whole server for the length of a block: what starts when, and what stops when.

One process; `workers/` makes several of the same parts.
"""

import asyncio
import importlib.metadata
import io
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image
from prometheus_client import CollectorRegistry

from sightline_server.app.catalogs import check_folders, open_catalogs
from sightline_server.app.clock import clock
from sightline_server.app.door import Door
from sightline_server.app.engine import engine_session
from sightline_server.app.pipeline import build_pipeline
from sightline_server.app.reload import Reloading
from sightline_server.app.tracing import make_tracing
from sightline_server.control.protocol import Reload
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.domain.request import SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pipeline import Pipeline
from sightline_server.ports import Engine
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.admission import Admission
from sightline_server.rpc.exposure import check_metrics_listener
from sightline_server.rpc.listening import in_words
from sightline_server.rpc.tls import Certificates
from sightline_server.settings import ServerSettings, Settings
from sightline_server.stages.formats import check_decoders
from sightline_server.telemetry.exposition import serving_metrics
from sightline_server.telemetry.metrics import EngineMetrics, Metrics
from sightline_server.telemetry.usage import ALONE, Usage

log = logging.getLogger(__name__)

WARM_UP_S = 60.0
"""Bound on the first search, which loads and allocates everything."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that serves: its addresses, and what a test or a stop needs of it."""

    address: str
    metrics_address: str
    admission: Admission
    engine: Engine
    metrics: Metrics
    reload: Callable[[], object]
    """Begins to read again what can be read while the server serves: the TLS files and the catalogs."""
    reload_catalogs: Reload
    """Opens catalogs again and reports on each."""


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Running]:
    """A server for the length of the block, from warm-up to a graceful stop.

    The port is bound first and refuses with UNAVAILABLE until everything is warm. Raises `SightlineError`.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        tracing = make_tracing(settings.tracing)
        stack.callback(tracing.close)
        metrics_address = start_metrics(stack, settings.server, metrics.registry)
        tell_usage(stack, metrics, ALONE)
        metrics.workers_wanted.set(1)
        door = Door(settings, metrics, tracing)
        address = stack.enter_context(rpc_server.listening(door.server, settings.server, door.certificates))
        keep_certificates(stack, door.certificates)
        # Before the engine: what is wrong with the settings is reported at once.
        folders = check_folders(settings)
        check_decoders(settings.decode.formats)
        # The health service would say SERVING for the server as a whole until it is told otherwise.
        await door.health.publish()
        await door.server.start()
        stack.push_async_callback(door.server.stop, None)
        events = EngineMetrics(metrics)
        engine = await stack.enter_async_context(engine_session(settings, events))
        log.info("engine: %s, %s", engine.spec(DETECTOR).identity, engine.spec(EMBEDDER).identity)
        catalogs, reloader = await open_catalogs(stack, folders, engine.spec(EMBEDDER), metrics)
        pipeline = await build_pipeline(stack, settings, engine, catalogs, metrics, tracing)
        await warm_up(pipeline, settings)
        metrics.build.labels(**build_facts(engine)).set(1)
        metrics.workers.set(1)
        door.open(engine, pipeline, events)
        await door.health.publish()
        stack.push_async_callback(door.close, settings.server.grace_s)
        reloading = Reloading(door, reloader)
        stack.callback(reloading.end)
        yield Running(
            str(address), metrics_address, door.admission, engine, metrics, reloading.on_hangup, reloader.reload
        )


def start_metrics(stack: AsyncExitStack, server: ServerSettings, registry: CollectorRegistry) -> str:
    """Serves `registry` as `/metrics` on `metrics_listen`; returns the address with its real port.

    Raises `SightlineError` of kind CONFIGURATION where others could read it unasked, or the port is taken.
    """
    check_metrics_listener(server)
    listen = server.metrics_listen
    try:
        port = stack.enter_context(serving_metrics(listen.resolved_host, listen.port, registry))
    except OSError as error:
        reason = in_words(error)
        raise SightlineError(ErrorKind.CONFIGURATION, f"cannot listen on {listen} for metrics: {reason}") from error
    return str(listen.with_port(port))


def tell_usage(stack: AsyncExitStack, metrics: Metrics, worker: str) -> None:
    """Tells what this process takes of the machine, as `worker`, for as long as `stack` stands."""
    telling = asyncio.create_task(Usage(metrics, worker).keep_telling(), name="usage")
    stack.callback(telling.cancel)


def keep_certificates(stack: AsyncExitStack, certificates: Certificates | None) -> None:
    """Checks the TLS files, if there are any, for as long as `stack` stands."""
    if certificates is not None:
        checking = asyncio.create_task(certificates.keep_checking(), name="tls-files")
        stack.callback(checking.cancel)


async def warm_up(pipeline: Pipeline, settings: Settings) -> None:
    """Sends one picture of noise the whole way, so that no caller pays for the first time of anything."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG")
    query = SearchQuery(
        request_id=f"warm-up-{secrets.token_hex(4)}",
        photo=encoded.getvalue(),
        deadline=clock() + WARM_UP_S,
        max_objects=settings.limits.max_objects,
        max_products=settings.limits.default_products,
        min_similarity=0.0,
        catalog=settings.catalog_names.default,
    )
    async with aclosing(pipeline.run(query)) as events:
        async for event in events:
            log.debug("warm-up: %s", type(event).__name__)


def build_facts(engine: Engine) -> dict[str, str]:
    """What `sightline_build_info` says."""
    packages = ("sightline", "grpcio", "protobuf", "numpy", "tritonclient", "pylance")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {**versions, "detector": engine.spec(DETECTOR).identity, "embedder": engine.spec(EMBEDDER).identity}
