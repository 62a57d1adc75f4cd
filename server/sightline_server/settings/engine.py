"""The settings of the model server: a running Triton or the embedded engine."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sightline_models.embedders import FOLDER, TEXT_FOLDER
from sightline_server.settings.addresses import Target
from sightline_server.settings.part import Part, Seconds

EmbedderFolder = Annotated[str, StringConstraints(pattern=f"^{FOLDER.pattern}$")]
TextFolder = Annotated[str, StringConstraints(pattern=f"^{TEXT_FOLDER.pattern}$")]


class EngineSettings(Part):
    """The model server: a running Triton, or the embedded engine."""

    triton_url: Target = None
    """HOST:PORT or unix:PATH of a running Triton's gRPC service; if unset, the embedded engine is started."""
    triton_insecure: bool = False
    """Allows a `triton_url` on another machine without TLS: images are then sent unencrypted."""
    triton_tls: bool = False
    """Uses TLS to `triton_url`, with the system's root certificates. Each of the four settings below implies it."""
    triton_tls_ca: Path | None = None
    """PEM certificates of the authority (CA) that signed Triton's certificate, in place of the system's."""
    triton_tls_cert: Path | None = None
    """PEM certificate chain that this server presents to Triton (mutual TLS)."""
    triton_tls_key: Path | None = None
    """PEM key of `triton_tls_cert`."""
    triton_tls_name: str = ""
    """Name expected in Triton's certificate, where it is not the host of `triton_url`."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device of the embedded engine; with `gpu` the server refuses to start without a GPU."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Precision of the embedded engine on a CPU. `auto` runs a model in bf16 where CPU and engine have it, its answers
    stay the same and it saves time; with `bf16` the server refuses to start where a model cannot run in it."""
    repository: Path | None = None
    """The Triton model repository; if unset, the checkout's, or else the one below `home`."""
    embedders: tuple[EmbedderFolder, ...] | None = None
    """Models that are served in addition to `embedder`, by their folders `embedder-NAME` in the repository, or their
    names at `triton_url`. If unset, all such folders of the repository are served, and none of `triton_url`."""
    text_encoders: tuple[TextFolder, ...] | None = None
    """Text encoders that are served for searches with `text`, by their folders `text_encoder` and `text_encoder-NAME`,
    or their names at `triton_url`. If unset, those of the repository whose embedder is served, and none of
    `triton_url`."""
    start_timeout_s: Seconds = 60.0
    """Longest time that the engine may take to start."""
    probe_interval_s: Seconds = 0.5
    """Time between two probes of the engine."""
    probe_timeout_s: Seconds = 5.0
    """A probe without an answer after this time counts as a fault."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port of the embedded engine's own metrics, on 127.0.0.1, for any user of this machine; 0 takes a free one,
    which the log names. If unset, the engine has no TCP port."""
    shared_memory: bool = True
    """Passes pixels through shared memory where a probe shows that it works."""
