"""The frame of every call: an id, a deadline, metrics, a log line, and one conversion of errors to a status.

Rule: whatever leaves the block becomes a status with details; the text of an unknown exception stays in the log.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeAlias

import grpc

from sightline_server.access.grants.claims import Grant
from sightline_server.admission.slots import Visit
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.rpc.method import Method, ResponseT
from sightline_server.rpc.status import CODES, fail
from sightline_server.settings import LimitSettings
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import NO_SPAN, OFF, Tracing

log = logging.getLogger(__name__)

CALL_LIMITS = (
    "concurrency",
    "deadline",
    "queue",
    "open_calls",
    "connection_calls",
    "slow_upload",
    "failed_tokens",
    "consent_store",
)
"""Limits that can refuse a call."""

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, ResponseT]"


class Call(Generic[ResponseT]):
    """One call: its id, its absolute deadline on the server's clock, and its responses on their way out."""

    def __init__(
        self,
        method: Method[Any, ResponseT],
        context: "Context[ResponseT]",
        started: float,
        deadline: float,
        clock: Clock,
    ) -> None:
        self._method = method
        self._context = context
        self._clock = clock
        # Deadlines are instants of the loop's clock, which is monotonic.
        self.limit = asyncio.timeout_at(deadline)
        self.request_id = secrets.token_hex(8)
        self.started = started
        self.arrived = started
        """The instant at which the request was complete; the server's own time counts from it."""
        self.deadline = deadline
        self.ends_with: SightlineError | None = None
        self.accepted = False
        self.first_result_at: float | None = None
        self.visit: Visit | None = None
        """Its slot, once it has one."""
        self.principal = ""
        """The name of its caller in the policy, once that is known."""
        self.span = NO_SPAN
        """Its span in a trace."""
        self.grant: Grant | None = None
        """The grant that it is answered under, once the grant is used up."""

    def identified(self, principal: str) -> None:
        """The caller is `principal`."""
        self.principal = principal
        self.span.identified(principal)

    def end_at(self, instant: float, error: SightlineError | None) -> None:
        """Schedules the end of the call at `instant`: with `error`, or without one as for a deadline that passed."""
        if not self.limit.expired():
            self.ends_with = error
            self.limit.reschedule(instant)

    def end_now(self, error: SightlineError) -> None:
        """Ends the call with `error`."""
        self.end_at(asyncio.get_running_loop().time(), error)

    async def send(self, response: ResponseT) -> None:
        """Sends one message; returns when the transport has taken it, so that a slow reader delays only itself."""
        is_result = self._method.is_result
        if self.first_result_at is None and (is_result is None or is_result(response)):
            self.first_result_at = self._clock()
            if self.visit is not None:
                self.visit.answered()
        await self._context.write(response)
        self.accepted = True


class Calls:
    """Opens calls and closes them properly."""

    def __init__(self, *, limits: LimitSettings, metrics: Metrics, clock: Clock, tracing: Tracing = OFF) -> None:
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        self._open: set[Call[Any]] = set()
        self._methods: set[str] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        for limit in CALL_LIMITS:
            metrics.refused_calls.labels(limit)

    def register(self, method: Method[Any, Any]) -> None:
        """Makes the metrics of `method`. Raises `ValueError` for a name that another method has."""
        if method.name in self._methods:
            raise ValueError(
                f"two methods are named {method.name}: metrics and log lines need a different name for each"
            )
        self._methods.add(method.name)
        # A counter that appears with its first call hides that call from rate(): it never was 0.
        for code in {grpc.StatusCode.OK, *CODES.values()}:
            self._metrics.requests.labels(method.name, code.name)

    @asynccontextmanager
    async def open(
        self, method: Method[Any, ResponseT], context: "Context[ResponseT]"
    ) -> AsyncIterator[Call[ResponseT]]:
        """The scope of one call of `method`; what the block raises becomes the call's status and ends here."""
        started = self._clock()
        call = Call(method, context, started, started + self._seconds_left(method, context), self._clock)
        code = grpc.StatusCode.OK
        traced = self._tracing.call(method.path, call.request_id, context.invocation_metadata)
        with traced as call.span:
            try:
                async with call.limit:
                    self._opened(call)
                    try:
                        yield call
                    finally:
                        self._closed(call)
            except asyncio.CancelledError:
                late = self._clock() >= call.deadline
                code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
                raise
            except Exception as error:
                code = self._failed(error, call, context)
            finally:
                self._close(method, call, code)
                call.span.ended_with(code.name)

    async def end_all(self) -> None:
        """Ends every call now, those included whose request has not arrived, and returns when all have ended.

        Their callers get the status of a stopping server.
        """
        for call in self._open:
            call.end_now(SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0))
        await self._none_open.wait()

    def _opened(self, call: Call[Any]) -> None:
        self._open.add(call)
        self._none_open.clear()

    def _closed(self, call: Call[Any]) -> None:
        self._open.discard(call)
        if not self._open:
            self._none_open.set()

    def _failed(self, error: Exception, call: Call[Any], context: "Context[Any]") -> grpc.StatusCode:
        """Ends a call with the status of `error`, which keeps nothing of the call afterwards."""
        failure = self._to_failure(error, call)
        # How long a request may take to arrive says nothing about how fast it is refused.
        if not call.accepted and failure is not call.ends_with:
            self._metrics.refusal_seconds.labels(failure.kind.value).observe(self._clock() - call.arrived)
        code = fail(context, failure, call.request_id)
        forget_frames(error)
        forget_frames(failure)
        return code

    def _to_failure(self, error: Exception, call: Call[Any]) -> SightlineError:
        failure = call.ends_with if isinstance(error, TimeoutError) else None
        failure = failure or to_failure(error, call.request_id)
        if failure.kind is ErrorKind.OVERLOADED:
            self._metrics.refused_calls.labels(failure.metadata.get("limit", "other")).inc()
        if failure.kind is ErrorKind.QUOTA_EXCEEDED:
            self._metrics.quota_refusals.labels(call.principal, failure.metadata["quota"]).inc()
        return failure

    def _seconds_left(self, method: Method[Any, Any], context: "Context[Any]") -> float:
        """The caller's deadline, or the default where the caller set none; capped.

        A stream of requests takes as long as its caller has requests, so its default is the longest deadline.
        """
        default = self._limits.max_deadline_s if method.takes_stream else self._limits.default_deadline_s
        left = context.time_remaining()
        # gRPC reports "no deadline" as None or as an instant centuries away.
        allowed = default if left is None or left > 1e8 else left
        return min(allowed, self._limits.max_deadline_s)

    def _close(self, method: Method[Any, Any], call: Call[Any], code: grpc.StatusCode) -> None:
        seconds = self._clock() - call.started
        self._metrics.requests.labels(method.name, code.name).inc()
        self._metrics.request_seconds.labels(method.name, code.name).observe(seconds)
        if call.first_result_at is not None and method.is_result is not None:
            self._metrics.first_result_seconds.observe(call.first_result_at - call.arrived)
        log.info(method.name, extra={"request_id": call.request_id, "code": code.name, "seconds": round(seconds, 4)})


def forget_frames(error: BaseException | None) -> None:
    """Removes the tracebacks of an error and of those that led to it.

    Their frames hold the request. A future or a frame that refers to its own error closes a circle, and then a photo
    would stay in memory until the garbage collector runs, which it does not while the server rests.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            waiting += (each.__cause__, each.__context__)


def to_failure(error: Exception, request_id: str) -> SightlineError:
    """`error` as one with a kind; an unknown one is logged here and reported as "internal error"."""
    if isinstance(error, SightlineError):
        if error.kind is ErrorKind.INTERNAL:
            log.error("internal error", exc_info=error, extra={"request_id": request_id})
        return error
    if isinstance(error, TimeoutError):
        return SightlineError(ErrorKind.DEADLINE_EXCEEDED, "the deadline has passed")
    log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
    return SightlineError(ErrorKind.INTERNAL, "internal error")
