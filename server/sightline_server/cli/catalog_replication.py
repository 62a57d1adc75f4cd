"""`sightline catalog publish` and `follow`: the revisions of one writer, on any number of machines.

Rule: each revision is one line on standard output, each new reason for which none was taken one line on standard error.
Exit code 0 when the newest revision is there, 1 when it could not be brought there, 2 when what was asked for is wrong;
with --every only a wrong use at its beginning ends the command.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console.terminal import echo, printable
from sightline_server.cli.catalog_failures import failures
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_server.index.replication.publisher import Published


def publish(
    catalog: Annotated[Path, typer.Argument(metavar="DIR", help="The catalog's folder, which its writer has.")],
    to: Annotated[Path, typer.Option(metavar="SHARE", help="Folder that replicas can read; one for each catalog.")],
    every: Annotated[
        float | None,
        typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="Go on, and look for a new revision so often."),
    ] = None,
) -> None:
    """Publish the current revision of a catalog for `sightline catalog follow`.

    The catalog is only read, and may be written and served meanwhile. Files that are published already are not copied
    again. A reader of SHARE never finds a part of a revision.
    """
    from sightline_server.index.replication.publisher import Publisher

    with failures("the revision that was published before stays"):
        publisher = Publisher(catalog, to)
        repeat(lambda: published_line(catalog, publisher.step()), f"{catalog}: is published", every)


def follow(
    source: Annotated[Path, typer.Argument(metavar="SHARE", help="Folder that `sightline catalog publish` writes to.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the copy, which a server can serve.")],
    every: Annotated[
        float, typer.Option(min=0.1, max=86_400, metavar="SECONDS", help="Seconds between two checks of SHARE.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Take the published revision and end.")] = False,
) -> None:
    """Keep a copy of the revisions that are published in a folder.

    A revision is checked against its digest before it replaces the one before, in one step. A server that serves DIR
    takes it with: sightline catalog reload. One with the setting `follow` needs no such command.
    """
    from sightline_server.index.replication.replica import Replica

    with failures("the copy is as it was"):
        replica = Replica(source, to)
        repeat(lambda: followed_line(to, replica.step()), f"{to}: has the published revision", None if once else every)


def repeat(step: Callable[[], str], idle: str, every: float | None) -> None:
    """Runs `step` once or every `every` seconds, and prints its line; `idle` where there was nothing to do at once."""
    line, failure = attempt(step, "", every is None, wrong_use_ends=True)
    if not failure:
        echo(line or idle)
    while every is not None:
        time.sleep(every)
        line, failure = attempt(step, failure, False, wrong_use_ends=False)
        if line:
            echo(line)


def attempt(step: Callable[[], str], before: str, ends: bool, *, wrong_use_ends: bool) -> tuple[str, str]:
    """The line of a step and its failure, which is printed when it is another one than `before`.

    Raises `SightlineError` where it `ends`, or for a wrong use alone. A catalog that is replaced while it is read can
    seem to be missing, so that later attempts do not end for it.
    """
    try:
        return step(), ""
    except SightlineError as error:
        if ends or (wrong_use_ends and error.kind is ErrorKind.CONFIGURATION):
            raise
        if error.message != before:
            echo(f"sightline: {printable(error.message)}", err=True)
        return "", error.message


def published_line(catalog: Path, published: "Published | None") -> str:
    """The line of a published revision; empty without one."""
    if published is None:
        return ""
    size = f"{counted(published.files, 'new file')}, {published.copied_bytes / 1e6:.1f} MB"
    return f"{catalog}: published revision {published.name} ({size})"


def followed_line(folder: Path, name: str | None) -> str:
    """The line of a revision that was taken; empty without one."""
    return f"{folder}: revision {name}" if name else ""
