"""The options by which every client command reaches a server, and how its errors are reported."""

import math
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sightline_client.credentials import read_token
from sightline_client.errors import ConfigurationError, SightlineError
from sightline_client.local_server import LocalServerError
from sightline_client.options import ClientOptions, TlsOptions
from sightline_client.target import check_plaintext, grpc_target
from sightline_console.server_options import Insecure, Tls, TlsCa, TlsCert, TlsKey, TokenFile
from sightline_console.terminal import echo, echo_lines

__all__ = [
    "Insecure",
    "Target",
    "Timeout",
    "Tls",
    "TlsCa",
    "TlsCert",
    "TlsKey",
    "TokenFile",
    "checked_timeout",
    "fail",
    "options",
]

WAYS_OUT = "use --tls (or --tls-ca FILE), or --insecure where something else encrypts the connection"


def checked_timeout(timeout_s: float) -> float:
    """An option's timeout. Raises `BadParameter` for NaN, which passes every comparison with a minimum."""
    if math.isnan(timeout_s):
        raise typer.BadParameter("nan is not a number of seconds")
    return timeout_s


Target = Annotated[str, typer.Option("--target", metavar="HOST:PORT", help="Address of the server, or unix:PATH.")]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="S",
        min=0.001,
        help="Deadline of a search, in seconds; inf leaves it to the server.",
        callback=checked_timeout,
    ),
]


def options(
    target: str,
    timeout_s: float,
    *,
    tls: bool = False,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool = False,
    token_file: Path | None = None,
) -> ClientOptions:
    """The client's options; any TLS file turns TLS on."""
    wanted = tls or any(path is not None for path in (ca, cert, key))
    try:
        grpc_target(target, tls=wanted)
        if not (wanted or insecure):
            check_plaintext(target, WAYS_OUT)
    except ConfigurationError as error:
        raise typer.BadParameter(error.message, param_hint="--target") from None
    try:
        token = None if token_file is None else read_token(token_file)
    except ConfigurationError as error:
        raise typer.BadParameter(error.message, param_hint="--token-file") from None
    return ClientOptions(
        target=target,
        tls=TlsOptions(root_ca=ca, client_cert=cert, client_key=key) if wanted else None,
        insecure=insecure,
        token=token,
        timeout_s=timeout_s,
    )


def fail(error: SightlineError) -> NoReturn:
    """Prints the error and exits 1; it is one line, unless a server's log follows."""
    if isinstance(error, LocalServerError):
        echo_lines(f"sightline: {error.message}", err=True)
    else:
        echo(f"sightline: {error.one_line()}", err=True)
    raise typer.Exit(1) from None
