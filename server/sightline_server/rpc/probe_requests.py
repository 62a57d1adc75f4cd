"""The requests of probes and load reports: small, few, quick to arrive, and never in the way of searches.

Rule: they have their own slots, time limit and memory, so searches never keep a probe out; those of one connection do
not block those of others.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import grpc

from sightline_server.admission.budget import ByteBudget
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.refusal import overloaded
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.rpc.reading import SETTLE_S
from sightline_server.rpc.status import fail
from sightline_server.settings import LimitSettings
from sightline_server.telemetry.metrics import Metrics

READS_AT_ONCE = 4
"""Requests that may be on their way in at once, each of up to gRPC's limit on a message."""
READ_S = 5.0
MOST_PROBES, MOST_PROBES_OF_ONE = 1024, 64

Context = grpc.aio.ServicerContext[bytes, Any]


class ProbeRequests:
    """Reads the one request of a call, and turns refusals into statuses."""

    def __init__(self, limits: LimitSettings, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._size = limits.largest_request
        self._budget = ByteBudget(READS_AT_ONCE * self._size, clock=clock)
        self._probes = OpenCalls(most=MOST_PROBES, most_of_one=MOST_PROBES_OF_ONE, name="probes")

    @contextlib.asynccontextmanager
    async def answered(self, context: Context) -> AsyncIterator[None]:
        """The scope of a call; a `SightlineError` of the block becomes the call's status."""
        try:
            yield
        except SightlineError as error:
            if error.kind is ErrorKind.OVERLOADED:
                self._metrics.refused_calls.labels(error.metadata["limit"]).inc()
            fail(context, error, secrets.token_hex(8))

    async def receive(self, context: Context, name: str) -> bytes:
        """The request, which arrives within its time or the call fails; `name` is that of its kind in messages.

        Raises `SightlineError`.
        """
        peer = context.peer()
        with self._probes.enter(peer):
            try:
                async with asyncio.timeout(READ_S) as limit:
                    return await self._read(context, peer, limit)
            except TimeoutError:
                raise overloaded("slow_probe", f"the {name} request took too long to arrive") from None

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
