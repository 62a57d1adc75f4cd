"""The options by which commands of the client and of the server reach a running server."""

from pathlib import Path
from typing import Annotated

import typer

Tls = Annotated[bool, typer.Option("--tls", help="Use TLS with the system's root certificates.")]
TlsCa = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="FILE", help="Use TLS with these root certificates (PEM).", dir_okay=False),
]
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Client certificate (PEM), for mTLS.", dir_okay=False)
]
TlsKey = Annotated[
    Path | None,
    typer.Option("--tls-key", metavar="FILE", help="Private key of the client certificate (PEM).", dir_okay=False),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with an API key or a bearer token, sent with each call.",
        dir_okay=False,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Allow a server on another machine without TLS; everyone on the way can read it."),
]
