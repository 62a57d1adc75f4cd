"""Tracing into a file, as a collector with a file exporter writes it."""

from pathlib import Path

from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from sightline_server.app.clock import clock
from sightline_server.telemetry.caller_traces import CallerTraces
from sightline_server.telemetry.otel import OpenTelemetryTracing


class FileTracing:
    """Spans of all calls, as JSON in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("w", buffering=1)
        self.tracing = OpenTelemetryTracing(
            SimpleSpanProcessor(ConsoleSpanExporter(out=self._file)), 1.0, CallerTraces(600, clock)
        )

    def close(self) -> None:
        """Closes the file when the tracing has ended."""
        self.tracing.close()
        self._file.close()
