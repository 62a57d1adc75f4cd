"""gRPC health v1: SERVING while the server serves and its engine answers, NOT_SERVING otherwise.

Rule: health reports what admission would decide; both read the same state. Searches never keep a probe out: probes have
their own slots, time limits and memory, and those of one connection do not block those of others.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from sightline_server.admission.budget import ByteBudget
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.refusal import overloaded
from sightline_server.admission.slots import Admission, ServerState
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.rpc.reading import SETTLE_S
from sightline_server.rpc.status import fail
from sightline_server.settings import LimitSettings
from sightline_server.telemetry.metrics import Metrics

HEALTH_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
OVERALL = ""
READS_AT_ONCE = 4
"""Requests that may be on their way in at once, each of up to gRPC's limit on a message."""
READ_S = 5.0
MOST_PROBES, MOST_PROBES_OF_ONE = 1024, 64
MOST_WATCHES, MOST_WATCHES_OF_ONE = 1024, 16

Context = grpc.aio.ServicerContext[bytes, health_pb2.HealthCheckResponse]


class Health:
    """Answers `Check` and `Watch` for the server and for `services`, and keeps the answers up to date."""

    name = str(HEALTH_SERVICE)

    def __init__(
        self, admission: Admission, services: Sequence[str], limits: LimitSettings, metrics: Metrics, clock: Clock
    ) -> None:
        self._admission = admission
        self._services = (OVERALL, *services)
        self._metrics = metrics
        self._size = limits.largest_request
        self._budget = ByteBudget(READS_AT_ONCE * self._size, clock=clock)
        self._probes = OpenCalls(most=MOST_PROBES, most_of_one=MOST_PROBES_OF_ONE, name="probes")
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
        async with self._answered(context):
            service = await self._service(context)
            if service not in self._status:
                context.set_code(grpc.StatusCode.NOT_FOUND)
                return
            await context.write(health_pb2.HealthCheckResponse(status=self._status[service]))

    async def watch(self, messages: AsyncIterable[bytes], context: Context) -> None:
        """Answers now and with each change, until the caller cancels."""
        async with self._answered(context):
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
        """The service that the call asks for; its request arrives within its time or the call fails."""
        peer = context.peer()
        with self._probes.enter(peer):
            try:
                async with asyncio.timeout(READ_S) as limit:
                    raw = await self._read(context, peer, limit)
            except TimeoutError:
                raise overloaded("slow_probe", "the health request took too long to arrive") from None
        try:
            return str(health_pb2.HealthCheckRequest.FromString(raw).service)
        except DecodeError as error:
            raise SightlineError(ErrorKind.INVALID_REQUEST, "the request is not a HealthCheckRequest") from error

    async def _read(self, context: Context, peer: str, limit: asyncio.Timeout) -> bytes:
        def give_way() -> None:
            with contextlib.suppress(RuntimeError):
                limit.reschedule(asyncio.get_running_loop().time())

        held = await self._budget.reserve(self._size, peer, give_way)
        try:
            raw = await context.read()
        finally:
            self._budget.release(held)
        if not isinstance(raw, bytes):
            await asyncio.sleep(SETTLE_S)
            raise SightlineError(ErrorKind.INVALID_REQUEST, "the call ended without a request")
        return raw

    @contextlib.asynccontextmanager
    async def _answered(self, context: Context) -> AsyncIterator[None]:
        try:
            yield
        except SightlineError as error:
            if error.kind is ErrorKind.OVERLOADED:
                self._metrics.refused_calls.labels(error.metadata["limit"]).inc()
            fail(context, error, secrets.token_hex(8))
