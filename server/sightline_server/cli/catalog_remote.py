"""`sightline catalog ... --target`: a verb on the catalog of a running server instead of a folder.

Rule: the client is found in the command's context, because the server does not import it.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import typer

from sightline_console.remote_catalog import Connect, Reach, RemoteCatalog, RemoteState
from sightline_console.terminal import echo
from sightline_server.errors import ErrorKind, SightlineError

Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="Change the catalog of this running server (its server.catalog_listen) instead of a folder; --catalog is "
        "then the catalog's name.",
    ),
]


def reach_of(
    target: str | None,
    tls: bool,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    insecure: bool,
    token_file: Path | None = None,
) -> Reach | None:
    """The server to reach, or None for a folder. Raises `SightlineError` of kind CONFIGURATION."""
    if target is not None:
        return Reach(target, tls, ca, cert, key, insecure, token_file)
    if tls or insecure or ca or cert or key or token_file:
        message = "--insecure, --token-file and the options that begin with --tls need --target"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return None


@contextmanager
def reached(context: typer.Context, reach: Reach, name: str) -> Generator[RemoteCatalog, None, None]:
    """The catalog `name` of the server. Raises `SightlineError` where the command has no client."""
    if context.obj is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "--target needs the command `sightline`")
    with cast("Connect", context.obj)(reach, name) as catalog:
        yield catalog


def show_state(state: RemoteState) -> None:
    """Prints the content that searches see after a command."""
    echo(f"revision    {state.revision}")
    echo(f"products    {state.products}")
