"""The listener of CatalogService: its own gRPC server, admission, limits and health, next to those of searches.

Rule: a flood of writes takes no slot, connection or upload memory of a search. What the two share is the engine, in
whose queue searches go first.
"""

import asyncio
import contextlib
import logging

from sightline_server.access.checks import Access
from sightline_server.admission.budget import ByteBudget
from sightline_server.admission.fixed import FixedLimit
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.slots import Admission, ServerState
from sightline_server.app.catalog_listener import catalog_server
from sightline_server.app.clock import clock
from sightline_server.app.transfers import ServedTransfers
from sightline_server.domain.address import Address
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.call import Calls
from sightline_server.rpc.catalog.operations_service import OperationsService
from sightline_server.rpc.catalog.service import CatalogService
from sightline_server.rpc.catalog.transfer_service import CatalogTransferService
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.rpc.edge import Edge, Service
from sightline_server.rpc.health import Health
from sightline_server.rpc.listener.tls import open_certificates
from sightline_server.rpc.listener.tls_files import Contents
from sightline_server.rpc.probe_requests import ProbeRequests
from sightline_server.rpc.reading import Uploads
from sightline_server.settings import LimitSettings, Settings
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

CALLS = 64
"""Calls inside at once. Those that write are of the batch lane, which gets half of them."""
OPEN_CALLS, OPEN_CALLS_OF_ONE = 256, 64
UPLOADS = 24
"""Largest requests that fit into the memory of all requests together."""
DEADLINE_S, MAX_DEADLINE_S = 60.0, 3600.0
LAST_WORDS_S = 1.0
"""Seconds that cancelled calls may take to send their final status."""


def catalog_limits(limits: LimitSettings) -> LimitSettings:
    """The limits of catalog calls: longer deadlines, and as many calls on a connection as there may be."""
    return limits.model_copy(
        update={
            "default_deadline_s": DEADLINE_S,
            "max_deadline_s": MAX_DEADLINE_S,
            "max_connection_calls": OPEN_CALLS_OF_ONE,
            "max_open_calls": OPEN_CALLS,
            "request_budget_bytes": UPLOADS * limits.largest_request,
        }
    )


class CatalogDoor:
    """CatalogService in the states starting, serving and stopping. `writers` is empty until `open`."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing,
        access: Access,
        *,
        tls: Contents | None = None,
    ) -> None:
        """`tls` is the content of the TLS files that another listener has read. Raises `SightlineError` of kind
        CONFIGURATION."""
        self._settings = catalog_server(settings.server)
        limits = catalog_limits(settings.limits)
        self.certificates = open_certificates(self._settings, initial=tls)
        self.admission = Admission(limit=FixedLimit(CALLS), engine_ready=lambda: True, clock=clock)
        self._calls = Calls(limits=limits, metrics=metrics, clock=clock, tracing=tracing)
        self._edge = Edge(
            calls=self._calls,
            access=access,
            open_calls=OpenCalls(most=OPEN_CALLS, most_of_one=OPEN_CALLS_OF_ONE),
            uploads=Uploads(ByteBudget(limits.request_budget_bytes, clock=clock), limits, clock),
            admission=self.admission,
        )
        self.writers = CatalogWriters()
        self.transfers = ServedTransfers(settings)
        self.service = CatalogService(self._edge, self.writers)
        offered: list[Service] = [
            self.service,
            CatalogTransferService(self._edge, self.writers, self.transfers),
            OperationsService(self._edge, self.writers, self.transfers.jobs),
        ]
        requests = ProbeRequests(limits, metrics, clock)
        self.health = Health(self.admission, [each.name for each in offered], requests, metrics)
        self.server = rpc_server.build([*offered, self.health], self._settings, limits, metrics)

    def listening(self) -> contextlib.AbstractContextManager[Address]:
        """Listens on `catalog_listen` for the length of the block. Raises `SightlineError` of kind CONFIGURATION."""
        return rpc_server.listening(self.server, self._settings, self.certificates)

    async def start(self) -> None:
        """Answers calls with UNAVAILABLE until `open`."""
        await self.health.publish()
        await self.server.start()

    async def open(self) -> None:
        """Lets calls in."""
        self.admission.state = ServerState.SERVING
        await self.health.publish()

    async def close(self, grace_s: float) -> None:
        """Refuses new calls, cancels imports and exports, and answers what was read for at most `grace_s` seconds.

        Other calls are ended.
        """
        drained = asyncio.ensure_future(self.admission.drain())
        self._edge.stop_streams()
        await asyncio.sleep(0)
        await self.health.publish()
        try:
            # Before the calls that wait for them.
            await self.transfers.jobs.close()
            await asyncio.wait_for(drained, grace_s)
        except TimeoutError:
            log.warning("stopping: %d catalog calls did not end in time", self.admission.inside)
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._calls.end_all(), LAST_WORDS_S)
