"""The settings of logs and traces."""

from pydantic import Field

from sightline_server.settings.addresses import Endpoint
from sightline_server.settings.part import Fraction, Part


class LogSettings(Part):
    """What the server says about itself."""

    level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least level that is logged."""
    json_lines: bool = False
    """One JSON object a line instead of plain text."""


class TracingSettings(Part):
    """Spans of calls and stages, for an OpenTelemetry collector."""

    endpoint: Endpoint = None
    """http://HOST:PORT or https://HOST:PORT of the collector's OTLP gRPC service; without it nothing is traced."""
    sample_ratio: Fraction = 0.1
    """How many calls are traced; a caller who has a trace of its own decides for its calls."""
