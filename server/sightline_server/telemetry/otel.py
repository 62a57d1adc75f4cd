"""`tracing.Tracing` by OpenTelemetry; imported only when the settings name a collector.

Rule: the text of an exception is never recorded, because it may say more than a span may: a failed span has the type
of the error alone. A thread of the exporter sends the spans, and drops them while the collector cannot be reached.
"""

import importlib.metadata
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Token
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import context as current
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sightline_server.domain.address import TcpAddress
from sightline_server.telemetry.caller_traces import CallerTraces
from sightline_server.telemetry.tracing import CallSpan, Metadata

PROPAGATED = ("traceparent", "tracestate")
NEW_TRACE = current.Context()
"""The context of a call that follows no trace."""
EXPORT_TIMEOUT_S = 3.0
CLOSE_S = 3.0
SERVER_FAULTS = ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "DATA_LOSS", "UNKNOWN")
"""Codes that make a server's span an error, by OpenTelemetry's conventions for gRPC."""
STATUS_CODE = "rpc.status_code"
"""`rpc.response.status_code` until version 1.44 of the conventions; renamed by semantic-conventions#3921."""


class OpenCall:
    """`tracing.CallSpan` around a span, which `start` opens below a context: the caller's trace, or a new one.

    It begins with the call, and is opened when it is known whose call it is.
    """

    def __init__(
        self, start: Callable[[current.Context], trace.Span], context_of: Callable[[str], current.Context]
    ) -> None:
        self._start = start
        self._context_of = context_of
        self._span: trace.Span | None = None
        self._token: Token[current.Context] | None = None

    def identified(self, principal: str) -> None:
        """See `tracing.CallSpan`."""
        self._span = self._start(self._context_of(principal))
        self._token = current.attach(trace.set_span_in_context(self._span))

    def ended_with(self, code: str) -> None:
        """Records the gRPC code; one that is a fault of the server is also the span's `error.type`."""
        span = self._opened()
        span.set_attribute(STATUS_CODE, code)
        if code in SERVER_FAULTS:
            span.set_attribute("error.type", code)
            span.set_status(trace.StatusCode.ERROR)

    def close(self) -> None:
        """Ends the span."""
        if self._token is not None:
            current.detach(self._token)
        self._opened().end()

    def _opened(self) -> trace.Span:
        if self._span is None:
            self._span = self._start(NEW_TRACE)
        return self._span


class OpenTelemetryTracing:
    """Spans of calls and stages to one `processor`.

    A call whose caller has a trace follows the caller's decision, as long as `callers` lets it record; of the others
    `sample_ratio` are traced.
    """

    def __init__(self, processor: SpanProcessor, sample_ratio: float, callers: CallerTraces) -> None:
        version = importlib.metadata.version("sightline")
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({SERVICE_NAME: "sightline", SERVICE_VERSION: version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sightline")
        self._propagator = TraceContextTextMapPropagator()
        self._callers = callers

    @contextmanager
    def call(self, method: str, request_id: str, metadata: Callable[[], Metadata | None]) -> Iterator[CallSpan]:
        """See `tracing.Tracing`."""
        began = time.time_ns()

        def start(context: current.Context) -> trace.Span:
            return self._tracer.start_span(
                method,
                context=context,
                kind=trace.SpanKind.SERVER,
                attributes={
                    "rpc.system.name": "grpc",
                    "rpc.method": method,
                    "sightline.request_id": request_id,
                },
                start_time=began,
            )

        call = OpenCall(start, lambda principal: self._context(metadata() or (), principal))
        try:
            yield call
        finally:
            call.close()

    def _context(self, metadata: Metadata, principal: str) -> current.Context:
        """The trace of the caller; a new one where it has none, or has had its traces of this minute."""
        carrier = {key: value for key, value in metadata if key in PROPAGATED and isinstance(value, str)}
        if not carrier:
            return NEW_TRACE
        context = self._propagator.extract(carrier, NEW_TRACE)
        # A caller that asks not to be recorded costs nothing, and its own backend counts on it.
        asks = trace.get_current_span(context).get_span_context().trace_flags.sampled
        return NEW_TRACE if asks and not self._callers.take(principal) else context

    def stage(self, name: str) -> AbstractContextManager[None]:
        """See `tracing.Tracing`. The warm-up and calls that are not sampled have no spans of stages."""
        return self._stage(name) if trace.get_current_span().is_recording() else nullcontext()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        span = self._tracer.start_span(name)
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """See `tracing.Tracing`. The exporter's own bound is half a minute, which a stop does not wait for traces."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def channel_options(endpoint: str) -> tuple[tuple[str, Any], ...]:
    """The options of the channel to the collector: a collector on this machine is reached without a proxy."""
    host = urlsplit(endpoint).hostname or ""
    return (("grpc.enable_http_proxy", int(not TcpAddress(host, 0).is_loopback)),)


def collector_tracing(endpoint: str, sample_ratio: float, callers: CallerTraces) -> OpenTelemetryTracing:
    """Tracing to the OTLP collector at `endpoint`, http://HOST:PORT or https://HOST:PORT, by gRPC."""
    exporter = OTLPSpanExporter(
        endpoint,
        insecure=endpoint.startswith("http://"),
        timeout=EXPORT_TIMEOUT_S,
        channel_options=channel_options(endpoint),  # type: ignore[arg-type]  # gRPC takes integers, too
    )
    return OpenTelemetryTracing(BatchSpanProcessor(exporter), sample_ratio, callers)
