"""The settings of the model server: a running Triton or the embedded engine."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sightline_server.settings.addresses import Target
from sightline_server.settings.part import Part, Seconds


class EngineSettings(Part):
    """The model server."""

    triton_url: Target = None
    """HOST:PORT or unix:PATH of a running Triton's gRPC service; without it the embedded engine is started."""
    triton_insecure: bool = False
    """Allows a `triton_url` on another machine without TLS: images are then sent in the clear."""
    triton_tls: bool = False
    """Uses TLS to `triton_url`, with the system's root certificates; any of the four settings below does so, too."""
    triton_tls_ca: Path | None = None
    """PEM certificates of the authority that signed Triton's certificate, in place of the system's."""
    triton_tls_cert: Path | None = None
    """PEM certificate chain that this server shows to Triton (mutual TLS)."""
    triton_tls_key: Path | None = None
    """PEM key of `triton_tls_cert`."""
    triton_tls_name: str = ""
    """A name in Triton's certificate, where that does not have the host of `triton_url`."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """What the embedded engine runs on; `gpu` refuses to start without one."""
    repository: Path | None = None
    """The Triton model repository; without it the checkout's, or that below `home`."""
    start_timeout_s: Seconds = 60.0
    """Bound on starting the engine."""
    probe_interval_s: Seconds = 0.5
    """How often the engine is looked at."""
    probe_timeout_s: Seconds = 5.0
    """A probe without an answer for so long counts as a fault."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of the embedded engine's own metrics, on 127.0.0.1, for any user of this machine; 0 takes a free one,
    which the log names. Without it the engine has no TCP port."""
    shared_memory: bool = True
    """Pixels go through shared memory where a probe shows that it works."""
