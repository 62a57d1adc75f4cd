"""The settings of logs and traces."""

from typing import Annotated

from pydantic import Field

from sightline_server.settings.addresses import Endpoint
from sightline_server.settings.part import Fraction, Part


class LogSettings(Part):
    """The server's log."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Lowest level that is logged."""
    json_lines: bool = False
    """Writes one JSON object per line instead of plain text."""


class TracingSettings(Part):
    """Spans of calls and stages, for an OpenTelemetry collector."""

    endpoint: Endpoint = None
    """http://HOST:PORT or https://HOST:PORT of the collector's OTLP gRPC service; if unset, nothing is traced."""
    sample_ratio: Fraction = 0.1
    """Fraction of calls that are traced. A caller that sends a trace context decides for its own calls, within
    `callers_per_minute`."""
    callers_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 600
    """Calls a minute that each principal may make the server trace by its trace context (`traceparent` with the flag
    `sampled`). Those above it, and those of callers that are refused without being identified, are traced as if they
    had none; 0 follows none. Workers share the number."""
