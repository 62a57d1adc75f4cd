"""gRPC health v1: SERVING while the server serves and its engine answers, NOT_SERVING otherwise.

Rule: health says what admission would say; both read the same state.
"""

import asyncio

from grpc_health.v1 import health, health_pb2

from sightline.v1 import lens_service_pb2
from sightline_server.rpc.admission import Admission, ServerState

LENS_SERVICE = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"].full_name
OVERALL = ""


class Health:
    """Keeps the health servicer's answers up to date."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._tasks: set[asyncio.Task[None]] = set()
        self.servicer = health.aio.HealthServicer()

    async def publish(self) -> None:
        """Publishes what admission says now, for the server as a whole and for the service."""
        serving = self._admission.state is ServerState.SERVING and self._admission.ready
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (OVERALL, LENS_SERVICE):
            await self.servicer.set(service, status)

    def publish_soon(self) -> None:
        """Publishes from a callback of the event loop."""
        task = asyncio.get_running_loop().create_task(self.publish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
