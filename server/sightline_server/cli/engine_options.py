"""The options of `serve`, `catalog build` and `catalog upsert` that choose the engine and protect the way to it.

Rule: an option has the name and the meaning of its setting in the group `engine`; an option that is not given is None.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

TritonUrl = Annotated[
    str | None, typer.Option(help="HOST:PORT of a running Triton's gRPC service (default: the embedded engine).")
]
TritonTls = Annotated[
    bool | None,
    typer.Option("--triton-tls", help="Use TLS to --triton-url, with the system's root certificates."),
]
TritonTlsCa = Annotated[
    Path | None,
    typer.Option(help="PEM CA of Triton: use TLS to --triton-url with it in place of the system's root certificates."),
]
TritonTlsCert = Annotated[
    Path | None, typer.Option(help="PEM certificate chain to present to Triton: makes TLS mutual.")
]
TritonTlsKey = Annotated[Path | None, typer.Option(help="PEM key of --triton-tls-cert.")]
TritonTlsName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name expected in Triton's certificate, where it is not the host of --triton-url."
    ),
]
TritonInsecure = Annotated[
    bool | None,
    typer.Option("--triton-insecure", help="Allow a --triton-url on another machine without TLS."),
]
Device = Annotated[
    str | None, typer.Option(metavar="auto|cpu|gpu", help="Device of the embedded engine (default: auto).")
]
Repository = Annotated[
    Path | None,
    typer.Option(
        help="Triton model repository of the embedded engine "
        "(default: the checkout's, else the one in the home folder)."
    ),
]

Embedder = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Embedder of the catalog: its folder embedder-NAME in the model repository, its name or its identity "
        "(default: embedder).",
    ),
]


def engine_group(
    *,
    triton_url: str | None,
    triton_tls: bool | None,
    triton_tls_ca: Path | None,
    triton_tls_cert: Path | None,
    triton_tls_key: Path | None,
    triton_tls_name: str | None,
    triton_insecure: bool | None,
    device: str | None,
    repository: Path | None,
) -> dict[str, Any]:
    """The options as the group `engine` for `load`. A switch that is off counts as not given."""
    return {
        "triton_url": triton_url,
        "triton_tls": triton_tls or None,
        "triton_tls_ca": triton_tls_ca,
        "triton_tls_cert": triton_tls_cert,
        "triton_tls_key": triton_tls_key,
        "triton_tls_name": triton_tls_name,
        "triton_insecure": triton_insecure or None,
        "device": device,
        "repository": repository,
    }
