"""`tracing.Tracing` by OpenTelemetry; imported only when the settings name a collector.

Rule: the text of an exception is never recorded, because it may say more than a span may: a failed span has the type
of the error alone. A thread of the exporter sends the spans, and drops them while the collector cannot be reached.
"""

import importlib.metadata
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from sightline_server.telemetry.tracing import CallSpan, Metadata

PROPAGATED = ("traceparent", "tracestate")
EXPORT_TIMEOUT_S = 3.0
CLOSE_S = 3.0
SERVER_FAULTS = ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "DATA_LOSS", "UNKNOWN")
"""Codes that make a server's span an error, by OpenTelemetry's conventions for gRPC."""
STATUS_CODE = "rpc.status_code"
"""`rpc.response.status_code` until version 1.44 of the conventions; renamed by semantic-conventions#3921."""


class OpenCall:
    """`tracing.CallSpan` around a span."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def ended_with(self, code: str) -> None:
        """Records the gRPC code; one that is a fault of the server is also the span's `error.type`."""
        self._span.set_attribute(STATUS_CODE, code)
        if code in SERVER_FAULTS:
            self._span.set_attribute("error.type", code)
            self._span.set_status(trace.StatusCode.ERROR)


class OpenTelemetryTracing:
    """Spans of calls and stages to one `processor`.

    A call whose caller has a trace follows the caller's decision; of the others `sample_ratio` are traced.
    """

    def __init__(self, processor: SpanProcessor, sample_ratio: float) -> None:
        version = importlib.metadata.version("sightline")
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({SERVICE_NAME: "sightline", SERVICE_VERSION: version}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sightline")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(self, method: str, request_id: str, metadata: Callable[[], Metadata | None]) -> Iterator[CallSpan]:
        """See `tracing.Tracing`."""
        carrier = {key: value for key, value in metadata() or () if key in PROPAGATED and isinstance(value, str)}
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(carrier),
            kind=trace.SpanKind.SERVER,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": method,
                "sightline.request_id": request_id,
            },
        )
        token = current.attach(trace.set_span_in_context(span))
        try:
            yield OpenCall(span)
        finally:
            current.detach(token)
            span.end()

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


def collector_tracing(endpoint: str, sample_ratio: float) -> OpenTelemetryTracing:
    """Tracing to the OTLP collector at `endpoint`, http://HOST:PORT or https://HOST:PORT, by gRPC."""
    exporter = OTLPSpanExporter(
        endpoint,
        insecure=endpoint.startswith("http://"),
        timeout=EXPORT_TIMEOUT_S,
        channel_options=channel_options(endpoint),  # type: ignore[arg-type]  # gRPC takes integers, too
    )
    return OpenTelemetryTracing(BatchSpanProcessor(exporter), sample_ratio)
