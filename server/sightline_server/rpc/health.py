"""gRPC health v1: SERVING while the server serves and its engine answers, NOT_SERVING otherwise.

Rule: health reports what admission would decide; both read the same state. Searches never keep a probe out
(`probe_requests.py`), and watches of one connection do not block those of others.
"""

import asyncio
from collections.abc import AsyncIterable, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.slots import Admission, ServerState
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.probe_requests import ProbeRequests
from sightline_server.telemetry.metrics import Metrics

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
OVERALL = ""
MOST_WATCHES, MOST_WATCHES_OF_ONE = 1024, 16

Context = grpc.aio.ServicerContext[bytes, health_pb2.HealthCheckResponse]


class Health:
    """Answers `Check` and `Watch` for the server and for `services`, and keeps the answers up to date."""

    name = str(HEALTH_SERVICE)

    def __init__(
        self, admission: Admission, services: Sequence[str], requests: ProbeRequests, metrics: Metrics
    ) -> None:
        self._admission = admission
        self._services = (OVERALL, *services)
        self._requests = requests
        self._watches = OpenCalls(
            most=MOST_WATCHES, most_of_one=MOST_WATCHES_OF_ONE, name="watches", on_count=metrics.watches.set
        )
        self._status = {OVERALL: health_pb2.HealthCheckResponse.NOT_SERVING}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def handlers(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        """The methods by name. They take bytes, as `Edge` does, and for the same reason."""
        make = partial(
            grpc.stream_stream_rpc_method_handler,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        return {"Check": make(self.check), "Watch": make(self.watch)}

    async def publish(self) -> None:
        """Publishes the current state of admission, for the server as a whole and for each service."""
        serving = self._admission.state is ServerState.SERVING and self._admission.ready
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        self._status = dict.fromkeys(self._services, status)
        self._changed.set()
        self._changed = asyncio.Event()

    def publish_soon(self) -> None:
        """Publishes from a callback of the event loop."""
        task = asyncio.get_running_loop().create_task(self.publish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def check(self, messages: AsyncIterable[bytes], context: Context) -> None:
        """Answers once; NOT_FOUND for an unknown service."""
        async with self._requests.answered(context):
            service = await self._service(context)
            if service not in self._status:
                context.set_code(grpc.StatusCode.NOT_FOUND)
                return
            await context.write(health_pb2.HealthCheckResponse(status=self._status[service]))

    async def watch(self, messages: AsyncIterable[bytes], context: Context) -> None:
        """Answers now and with each change, until the caller cancels."""
        async with self._requests.answered(context):
            with self._watches.enter(context.peer()):
                service = await self._service(context)
                last = None
                while True:
                    changed = self._changed
                    status = self._status.get(service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
                    if status != last:
                        await context.write(health_pb2.HealthCheckResponse(status=status))
                        last = status
                    await changed.wait()

    async def _service(self, context: Context) -> str:
        """The service that the call asks for."""
        raw = await self._requests.receive(context, "health")
        try:
            return str(health_pb2.HealthCheckRequest.FromString(raw).service)
        except DecodeError as error:
            raise SightlineError(ErrorKind.INVALID_REQUEST, "the request is not a HealthCheckRequest") from error
