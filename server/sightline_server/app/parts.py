"""The parts of a process that serves calls: the only module that builds and joins them.

    build_front  traces, usage, a gRPC server that refuses calls  ->  build_core  catalogs, pipeline  ->  admit_calls
Rule: the server of one process, each worker and the tests' server are all built here. What differs between them is
passed in: the engine, where the catalogs come from, and when the port is opened. Every part ends with the exit stack,
in reverse order. A new part of the gRPC side is built in `door.py`, a new part of a search in `pipeline.py`, and one
that both of them need, here.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from sightline_server.access.grants.consent import no_consent
from sightline_server.access.quotas.tables import QuotaTables
from sightline_server.app.access import AccessFiles, open_access, open_access_files
from sightline_server.app.audit import open_audit
from sightline_server.app.background import (
    keep_access_files,
    keep_certificates,
    keep_measuring_recall,
    keep_telling_usage,
)
from sightline_server.app.batchers import Batchers, build_batchers
from sightline_server.app.catalog_door import CatalogDoor
from sightline_server.app.catalogs import new_registry
from sightline_server.app.consent import WatchedFiles, make_consent, open_grant_file, watched_files
from sightline_server.app.door import Door, MakeAccess, MakeServices, no_services
from sightline_server.app.limits import catalog_limits
from sightline_server.app.milvus_catalogs import keep_milvus_catalogs
from sightline_server.app.photo_threads import photo_threads
from sightline_server.app.pipeline import build_pipeline
from sightline_server.app.pseudonyms import keep_pseudonym_keys, photo_quota
from sightline_server.app.tracing import make_tracing
from sightline_server.app.used_grants import open_used_grants
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.request import Lane
from sightline_server.domain.weights import Weights
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.ingest.images_by_embedder import ImagesByEmbedder
from sightline_server.ingest.served_images import ServedImages
from sightline_server.pipeline import Pipeline
from sightline_server.ports import Engine
from sightline_server.rpc.listener.tls_files import Contents
from sightline_server.settings import Settings
from sightline_server.stages.printed_text.reading import TextReading
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import Tracing
from sightline_server.telemetry.usage import ALONE

if TYPE_CHECKING:
    from sightline_server.index.milvus.live import MilvusLive

PRODUCT_THREADS = 2
"""Threads that decode images of products, in addition to those of photos."""
PublishCatalogs = Callable[[Registry, DeviceThread, ServedEmbedders], Awaitable[None]]
"""Opens the catalogs for the served embedders on a device thread and publishes them. Raises `SightlineError`."""


@dataclass(frozen=True, slots=True)
class Front:
    """The parts that are there from the start: they measure, trace, and refuse calls while there is no core."""

    settings: Settings
    metrics: Metrics
    tracing: Tracing
    door: Door
    access_files: AccessFiles | None
    """The policy and what identifies callers; None without a policy."""
    watched_files: WatchedFiles | None
    """Those files and the keys of grants; None where there are none."""


@dataclass(frozen=True, slots=True)
class Core:
    """The parts behind the front: they serve the calls that it admits."""

    engine: Engine
    events: EngineMetrics
    registry: Registry
    device: DeviceThread
    catalog_metrics: CatalogMetrics
    pipeline: Pipeline
    batchers: Batchers


def build_front(
    stack: AsyncExitStack,
    settings: Settings,
    metrics: Metrics,
    *,
    tracing: Tracing | None = None,
    worker: str = ALONE,
    tls: Contents | None = None,
    access_contents: Mapping[str, bytes] | None = None,
    quotas: QuotaTables | None = None,
    access: MakeAccess | None = None,
    services: MakeServices = no_services,
) -> Front:
    """The front of one process, which listens nowhere yet; what it starts ends with `stack`.

    `tracing`, which its caller closes, replaces that of the settings. `worker` is the name of the process in the
    metrics. `tls` is the content of the TLS files when they were last valid, for a worker that starts while they are
    not, and `access_contents` that of the files of access. `quotas` are the tables that it shares with other workers;
    without them it has its own. `access` replaces the checks of the settings; `services` are
    for servers that offer more than search. Raises `SightlineError` of kind CONFIGURATION.
    """
    if tracing is None:
        tracing = make_tracing(settings.tracing)
        stack.callback(tracing.close)
    keep_telling_usage(stack, metrics, worker)
    files = open_access_files(
        settings, initial=access_contents, on_check=metrics.access_file, quotas=quotas, on_limited=metrics.limited
    )
    audit = open_audit(stack, settings.audit, metrics)
    if access is None:
        access = partial(open_access if files is None else files.access, audit=audit)
    grants = open_grant_file(settings, initial=access_contents, on_check=metrics.access_file)
    consent = no_consent()
    if grants is not None:
        if quotas is None:
            quotas = QuotaTables.own()
            keep_pseudonym_keys(stack, quotas.keys, settings.pseudonym_quota)
        photos = photo_quota(settings.pseudonym_quota, quotas, metrics.limited)
        consent = make_consent(settings, grants, open_used_grants(stack, settings, metrics), photos)
    door = Door(settings, metrics, tracing, tls=tls, access=access, services=services, consent=consent)
    keep_certificates(stack, door.certificates)
    watched = watched_files(files, grants)
    keep_access_files(stack, watched)
    return Front(settings, metrics, tracing, door, files, watched)


async def start_refusing(stack: AsyncExitStack, front: Front) -> None:
    """Answers calls with UNAVAILABLE on the ports that were added; the gRPC server stops with `stack`."""
    # The health service reports SERVING for the server as a whole until something else is published.
    await front.door.health.publish()
    await front.door.server.start()
    stack.push_async_callback(front.door.server.stop, None)


async def build_core(
    stack: AsyncExitStack,
    front: Front,
    engine: Engine,
    events: EngineMetrics,
    publish_catalogs: PublishCatalogs,
    *,
    live: "Mapping[str, MilvusLive]" = MappingProxyType({}),
    weights: Mapping[str, Weights] | None = None,
) -> Core:
    """The core behind `front`: the catalogs and the pipeline of a started `engine`; they end with `stack`.

    `live` are the catalogs in Milvus that this process writes, once `publish_catalogs` has opened them. `weights` are
    those of `ranking_weights.served_weights`; without them they are read.
    `events` receives the engine's readiness from `admit_calls` on. Raises `SightlineError`.
    """
    catalog_metrics = CatalogMetrics(front.metrics)
    registry, device = new_registry(stack, catalog_metrics)
    await publish_catalogs(registry, device, engine.embedders)
    await keep_milvus_catalogs(stack, front.settings, registry, engine.embedders, front.metrics, live)
    batchers = build_batchers(stack, front.settings, engine, front.metrics)
    pipeline = await build_pipeline(
        stack, front.settings, engine, registry, batchers, front.metrics, front.tracing, weights
    )
    keep_measuring_recall(stack, registry, batchers.queries, catalog_metrics, front.settings.index.recall_every_s)
    return Core(engine, events, registry, device, catalog_metrics, pipeline, batchers)


def build_catalog_door(front: Front) -> CatalogDoor:
    """The gRPC side of CatalogService next to `front`, which listens nowhere yet.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    settings, certificates = front.settings, front.door.certificates
    tls = certificates.used if certificates else None
    return CatalogDoor(settings, front.metrics, front.tracing, front.door.access, tls=tls)


def build_served_images(stack: AsyncExitStack, front: Front, core: Core) -> ImagesByEmbedder:
    """The embedders of the images of products that are written, by catalog; its threads end with `stack`."""
    decode = front.settings.decode.model_copy(update={"threads": PRODUCT_THREADS})
    threads, limits = photo_threads(stack, decode, front.metrics), catalog_limits(front.settings)
    embedders, batchers = core.engine.embedders, core.batchers
    part, models = front.settings.printed_text, batchers.printed_text
    text = None
    if models is not None:
        text = TextReading(models.of_lane(Lane.BATCH), threads, part.most_lines, part.min_confidence)
    images = {
        each.spec.identity: ServedImages(
            threads, limits, each.spec, batchers.crops_of[each.spec.identity], batchers.background, text
        )
        for each in embedders.models
    }
    return ImagesByEmbedder(embedders, images)


async def admit_calls(front: Front, core: Core) -> None:
    """Lets calls in, as long as the engine is ready, and reports it to those that watch the health."""
    front.door.open(core.engine, core.pipeline, core.events)
    await front.door.health.publish()
