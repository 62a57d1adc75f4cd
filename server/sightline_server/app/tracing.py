"""Traces from the settings: off, or to the collector that they name.

Rule: OpenTelemetry is imported only where a collector is named.
"""

from sightline_server.app.clock import clock
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import TracingSettings
from sightline_server.telemetry.caller_traces import CallerTraces
from sightline_server.telemetry.tracing import OFF, Tracing


def make_tracing(settings: TracingSettings) -> Tracing:
    """Tracing as the settings ask for it.

    Raises `SightlineError` of kind CONFIGURATION when a collector is named and OpenTelemetry is not installed.
    """
    if settings.endpoint is None:
        return OFF
    try:
        from sightline_server.telemetry import otel
    except ImportError as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION, 'setting tracing.endpoint needs OpenTelemetry: pip install "sightline[otel]"'
        ) from error
    callers = CallerTraces(settings.callers_per_minute, clock)
    return otel.collector_tracing(settings.endpoint, settings.sample_ratio, callers)
