"""`sightline catalog reload`: a server that runs opens its catalogs again, without losing a call.

Rule: waits until it is done. The old and the new revision of each catalog go to standard output, what failed to
standard error. Exit code 0 when every catalog is what its folder holds, 1 when one could not be opened (it stays as it
was), 2 when no server was found.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo, printable
from sightline_server.control.client import ask_reload, socket_of
from sightline_server.control.protocol import Reloaded
from sightline_server.errors import ErrorKind, SightlineError


def reload(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Catalogs to open again (default: all).")
    ] = None,
    pid_file: Annotated[
        Path | None,
        typer.Option(help="File with the process id of the server, as `sightline serve --pid-file` writes it."),
    ] = None,
) -> None:
    """Make a running server open its catalogs again.

    Each catalog is read from the folder that it was served from, and checked, next to the revision that is served;
    calls that have begun end on that one. Without --pid-file the only server of this user is asked.
    """
    try:
        reports = ask_reload(socket_of(pid_file), names or [])
    except SightlineError as error:
        echo(f"sightline: {error.message}", err=True)
        raise typer.Exit(2 if error.kind is ErrorKind.CONFIGURATION else 1) from None
    raise typer.Exit(tell(reports))


def tell(reports: Sequence[Reloaded]) -> int:
    """Prints what became of each catalog; returns the exit code."""
    for report in reports:
        name = printable(report.catalog)
        if report.error:
            kept = f"; revision {report.before} is still served" if report.before == report.now != "" else ""
            echo(f"sightline: catalog {name}: {printable(report.error)}{kept}", err=True)
        elif report.before == report.now:
            echo(f"{name}: {report.now} ({printable(report.note) or 'unchanged'})")
        else:
            echo(f"{name}: {report.before} -> {report.now}")
    return int(any(report.error for report in reports))
