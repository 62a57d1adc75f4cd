"""The gRPC side of a process, which refuses calls until there is a pipeline that can serve them."""

import asyncio
import contextlib
import importlib.metadata
import logging
from collections.abc import Callable, Sequence

import grpc

from sightline_server.access.checks import Access
from sightline_server.access.grants.consent import Consent
from sightline_server.admission.budget import ByteBudget
from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.slots import Admission, ServerState
from sightline_server.app.clock import clock
from sightline_server.app.trimming import Trimming
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.events import FailureReason
from sightline_server.pipeline import Pipeline
from sightline_server.ports import Engine
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.call import Calls
from sightline_server.rpc.edge import Edge, Service
from sightline_server.rpc.health import Health
from sightline_server.rpc.lens.info import ServerFacts
from sightline_server.rpc.lens.service import LensService
from sightline_server.rpc.listener.tls import open_certificates
from sightline_server.rpc.listener.tls_files import Contents
from sightline_server.rpc.load_reports.occupancy import Occupancy
from sightline_server.rpc.load_reports.reading import LoadReader
from sightline_server.rpc.load_reports.service import LoadReports
from sightline_server.rpc.probe_requests import ProbeRequests
from sightline_server.rpc.reading import Uploads
from sightline_server.settings import Settings
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

LAST_WORDS_S = 1.0
"""Seconds that cancelled calls may take to send their final status."""

MakeAccess = Callable[[CatalogNames], Access]
"""Makes the access checks of a server that has these catalogs."""
MakeServices = Callable[[Edge], Sequence[Service]]
"""Makes services whose calls the edge takes."""


def both(first: Callable[[int], object], second: Callable[[int], object]) -> Callable[[int], object]:
    """Calls `first` and then `second`."""

    def call(value: int) -> None:
        first(value)
        second(value)

    return call


def no_services(edge: Edge) -> Sequence[Service]:
    """No service next to search."""
    return ()


class Door:
    """Admission, health, the service and the gRPC server, in the states starting, serving and stopping."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing,
        *,
        tls: Contents | None,
        access: MakeAccess,
        services: MakeServices,
        consent: Consent,
    ) -> None:
        """`tls` is the content of the TLS files when they were last valid, for a worker that starts while they are not.

        `services` makes the services that are offered next to search. Raises `SightlineError` of kind CONFIGURATION
        when the TLS files cannot be used.
        """
        self._engine: Engine | None = None
        self.names = settings.catalog_names
        """The catalogs that callers may name, shared with other listeners of the server."""
        occupancy = Occupancy(clock)
        self.admission = Admission(
            limit=AdaptiveLimit(
                target_s=settings.limits.target_first_result_s, floor=2, ceiling=settings.limits.max_concurrent_calls
            ),
            engine_ready=lambda: self._engine is not None and self._engine.ready,
            clock=clock,
            on_limit=metrics.concurrency_limit.set,
            on_inside=both(metrics.in_flight.set, occupancy.note)
            if settings.server.load_reports
            else metrics.in_flight.set,
        )
        metrics.tls_files_usable.set(1)
        self.certificates = open_certificates(settings.server, initial=tls, on_check=metrics.tls_files_usable.set)
        self.access = access(self.names)
        """The access checks, shared with other listeners of the server."""
        self._calls = Calls(limits=settings.limits, metrics=metrics, clock=clock, tracing=tracing)
        self.edge = Edge(
            calls=self._calls,
            access=self.access,
            open_calls=OpenCalls(
                most=settings.limits.max_open_calls,
                most_of_one=settings.limits.max_connection_calls,
                on_count=metrics.open_calls.set,
            ),
            uploads=Uploads(
                ByteBudget(settings.limits.request_budget_bytes, clock=clock, on_used=self._on_used),
                settings.limits,
                clock,
            ),
            admission=self.admission,
            consent=consent,
        )
        self.service = LensService(
            edge=self.edge,
            facts=facts_of(settings, consent),
            catalogs=self.names,
            one_per_group=settings.ranking.one_per_group,
            on_too_large=metrics.objects.labels(FailureReason.TOO_LARGE.value).inc,
        )
        offered = [self.service, *services(self.edge)]
        requests = ProbeRequests(settings.limits, metrics, clock)
        self.health = Health(self.admission, [each.name for each in offered], requests, metrics)
        aside: list[Service] = [self.health]
        if settings.server.load_reports:
            aside.append(LoadReports(LoadReader(self.admission, occupancy, metrics, clock), requests, metrics))
        self._metrics = metrics
        self._trimming = Trimming()
        self.server: grpc.aio.Server = rpc_server.build([*offered, *aside], settings.server, settings.limits, metrics)

    def open(self, engine: Engine, pipeline: Pipeline, events: EngineMetrics) -> None:
        """Lets calls in, as long as `engine` is ready."""
        self._engine = engine
        self.service.pipeline = pipeline
        self.admission.state = ServerState.SERVING
        events.ready(engine.ready)
        engine.on_change(events.ready)
        engine.on_change(lambda _ready: self.health.publish_soon())

    def _on_used(self, used: int) -> None:
        self._metrics.request_bytes.set(used)
        self._trimming.used(used)

    async def close(self, grace_s: float) -> None:
        """Refuses new calls, waits for accepted ones for at most `grace_s` seconds, and cancels the rest.

        Cancelling it, as a second signal does, ends the calls at once.
        """
        drained = asyncio.ensure_future(self.admission.drain())
        await asyncio.sleep(0)
        await self.health.publish()
        log.info("stopping: %d calls inside, waiting up to %.0f s", self.admission.inside, grace_s)
        try:
            await asyncio.wait_for(drained, grace_s)
        except TimeoutError:
            log.warning("stopping: %d calls did not end in time", self.admission.inside)
        finally:
            # Also when cancelled: what stops next waits for the batches that run, and those wait for their callers.
            # Calls whose request has not arrived are still open in any case.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._calls.end_all(), LAST_WORDS_S)
            self._trimming.close()


def facts_of(settings: Settings, consent: Consent) -> ServerFacts:
    """The facts that the server states about itself."""
    return ServerFacts(
        version=importlib.metadata.version("sightline"),
        limits=settings.limits,
        detection=settings.detection,
        photo_formats=settings.decode.formats,
        consent_of=consent.mode_of,
    )
