"""`sightline catalog delete`: removes products from a catalog that exists.

Rule: as in `catalog_changes`; products that are not in the catalog are named on standard error.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console import server_options
from sightline_console.terminal import echo, printable
from sightline_server.cli import catalog_remote
from sightline_server.cli.catalog_changes import STAYS, CatalogFolder, actor, show_revision
from sightline_server.cli.catalog_failures import failures
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_console.remote_catalog import Reach

MISSING = "no product {}"


def delete(
    context: typer.Context,
    catalog: CatalogFolder,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of the products.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="File with further ids, one a line; - reads standard input.")
    ] = None,
    target: catalog_remote.Target = None,
    tls: server_options.Tls = False,
    tls_ca: server_options.TlsCa = None,
    tls_cert: server_options.TlsCert = None,
    tls_key: server_options.TlsKey = None,
    insecure: server_options.Insecure = False,
    token_file: server_options.TokenFile = None,
) -> None:
    """Delete products from a catalog. The result is a new revision, so that a rollback brings them back."""
    with failures(STAYS):
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure, token_file)
        wanted = list(dict.fromkeys([*(ids or []), *(ids_of(file) if file else [])]))
        if not wanted:
            raise SightlineError(ErrorKind.CONFIGURATION, "no ids given: name products, or a file with --file")
        if reach is not None:
            faults, show = deleted_remotely(context, reach, catalog, wanted)
        else:
            faults, show = deleted_locally(catalog, wanted)
    for row_id, fault in zip(wanted, faults, strict=True):
        if fault:
            echo(fault.format(printable(row_id)) if fault == MISSING else f"{printable(row_id)}: {fault}", err=True)
    deleted, missing = faults.count(""), faults.count(MISSING)
    refused = f", {len(faults) - deleted - missing} refused" if deleted + missing < len(faults) else ""
    echo(f"{catalog}: {counted(deleted, 'product')} deleted, {missing} not found{refused}")
    if not deleted:
        raise typer.Exit(1)
    show()


def deleted_locally(catalog: Path, ids: list[str]) -> "tuple[list[str], Callable[[], None]]":
    """Deletes products from a folder: the fault of each, empty where it was deleted, and how to show the result."""
    from sightline_server.index.living import LivingCatalog

    with LivingCatalog(catalog, actor=actor()) as living:
        faults = ["" if seq else MISSING for seq in living.delete(ids).seqs]
        revision = living.checkpoint(f"delete of {counted(faults.count(''), 'product')}")
    return faults, partial(show_revision, revision, catalog)


def deleted_remotely(
    context: typer.Context, reach: "Reach", catalog: Path, ids: list[str]
) -> "tuple[list[str], Callable[[], None]]":
    """Deletes products through a running server. As `deleted_locally`."""
    with catalog_remote.reached(context, reach, str(catalog)) as remote:
        faults = [MISSING if outcome.missing else outcome.fault for outcome in remote.delete(ids)]
        return faults, partial(catalog_remote.show_state, remote.state())


def ids_of(file: Path) -> list[str]:
    """The ids of a file in UTF-8, one a line. Raises `SightlineError` of kind CONFIGURATION for other bytes."""
    if str(file) == "-" and sys.stdin is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "--file -: standard input is closed")
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        message = f"--file {file}: line {number} is not UTF-8 text; save the file as UTF-8"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    return [row_id for line in text.split("\n") if (row_id := line.strip())]
