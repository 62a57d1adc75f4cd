"""What every call has around it: an id, a deadline, metrics, a log line, and the one way in which it fails.

Rule: whatever leaves the block becomes a status with details; the text of an unknown exception stays in the log.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from sightline.v1 import lens_service_pb2
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.rpc.status import CODES, to_status
from sightline_server.settings import LimitSettings
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF, Tracing

log = logging.getLogger(__name__)

SEARCH = "Search"
"""The method as the metrics name it."""

Context = grpc.aio.ServicerContext[lens_service_pb2.SearchRequest, lens_service_pb2.SearchResponse]


class Call:
    """One call: its id, its absolute deadline on the server's clock, and its answers on their way out."""

    def __init__(self, context: Context, request_id: str, started: float, deadline: float) -> None:
        self._context = context
        self.request_id = request_id
        self.started = started
        self.deadline = deadline
        self.accepted = False
        self.first_result_at: float | None = None

    async def send(self, response: lens_service_pb2.SearchResponse, now: float) -> None:
        """Sends one event; returns when the transport has taken it, so that a slow reader holds only itself up."""
        if self.first_result_at is None and response.WhichOneof("event") in ("results", "failure"):
            self.first_result_at = now
        await self._context.write(response)
        self.accepted = True


class Calls:
    """Opens calls and closes them properly."""

    def __init__(self, *, limits: LimitSettings, metrics: Metrics, clock: Clock, tracing: Tracing = OFF) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        self._open: set[asyncio.Timeout] = set()
        self._ending = False
        # A counter that appears with its first call hides that call from rate(): it never was 0.
        for code in {grpc.StatusCode.OK, *CODES.values()}:
            metrics.requests.labels(SEARCH, code.name)

    @asynccontextmanager
    async def open(self, method: str, context: Context) -> AsyncIterator[Call]:
        """The scope of one call of `method`; what the block raises becomes the call's status and ends here."""
        started = self._clock()
        call = Call(context, secrets.token_hex(8), started, started + self._seconds_left(context))
        code = grpc.StatusCode.OK
        traced = self._tracing.call(method, call.request_id, context.invocation_metadata)
        with self._metrics.in_flight.track_inprogress(), traced as span:
            try:
                # The loop's clock is the monotonic clock that deadlines are made of.
                async with asyncio.timeout_at(call.deadline) as limit:
                    self._open.add(limit)
                    try:
                        yield call
                    finally:
                        self._open.discard(limit)
            except asyncio.CancelledError:
                late = self._clock() >= call.deadline
                code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                failure = self._to_failure(error, call.request_id)
                status = to_status(failure, call.request_id)
                code = status.code
                if not call.accepted:
                    self._metrics.refusal_seconds.labels(failure.kind.value).observe(self._clock() - started)
                # Not `abort`: gRPC keeps what it raises, and with it the photo, until the next call comes.
                context.set_trailing_metadata(status.trailing_metadata)
                context.set_code(status.code)
                context.set_details(status.message)
            finally:
                self._close(method, call, code)
                span.ended_with(code.name)

    def end_all(self) -> None:
        """Ends every call now; their callers hear that the server is stopping."""
        self._ending = True
        now = asyncio.get_running_loop().time()
        for limit in self._open:
            if not limit.expired():
                limit.reschedule(now)

    def _to_failure(self, error: Exception, request_id: str) -> SightlineError:
        if isinstance(error, TimeoutError) and self._ending:
            return SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)
        return to_failure(error, request_id)

    def _seconds_left(self, context: Context) -> float:
        """What the caller allows, or the default for callers who set nothing; capped."""
        left = context.time_remaining()
        # gRPC reports "no deadline" as None or as an instant centuries away.
        allowed = self._limits.default_deadline_s if left is None or left > 1e8 else left
        return min(allowed, self._limits.max_deadline_s)

    def _close(self, method: str, call: Call, code: grpc.StatusCode) -> None:
        seconds = self._clock() - call.started
        self._metrics.requests.labels(method, code.name).inc()
        self._metrics.request_seconds.labels(method, code.name).observe(seconds)
        if call.first_result_at is not None:
            self._metrics.first_result_seconds.observe(call.first_result_at - call.started)
        log.info(method, extra={"request_id": call.request_id, "code": code.name, "seconds": round(seconds, 4)})


def to_failure(error: Exception, request_id: str) -> SightlineError:
    """`error` as one with a kind; an unknown one is logged here and told as "internal error"."""
    if isinstance(error, SightlineError):
        if error.kind is ErrorKind.INTERNAL:
            log.error("internal error", exc_info=error, extra={"request_id": request_id})
        return error
    if isinstance(error, TimeoutError):
        return SightlineError(ErrorKind.DEADLINE_EXCEEDED, "the deadline has passed")
    log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    return SightlineError(ErrorKind.INTERNAL, "internal error")
