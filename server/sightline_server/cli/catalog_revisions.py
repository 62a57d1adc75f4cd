"""`sightline catalog revisions`, `rollback`, `verify` and `compact`.

Rule: `revisions` and `verify` only read and run next to a writer. Exit code 0 when all is well, 1 when something is
damaged, 2 when what was asked for is wrong.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console import server_options
from sightline_console.terminal import echo, echo_lines, printable
from sightline_server.cli import catalog_remote
from sightline_server.cli.catalog_changes import (
    STAYS,
    CatalogFolder,
    LocalCatalogFolder,
    actor,
    show_counts,
    show_revision,
)
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.originals_options import originals_findings
from sightline_server.counting import counted
from sightline_server.domain.image_views import item_word
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_console.remote_catalog import RemoteCatalog, RemoteRevision, RemoteState
    from sightline_server.catalog.revisions import Revision
    from sightline_server.index.living import LivingCatalog

NEVER_CHANGED = "the catalog was never changed; what was built becomes its revision 1 with the first change"


def revisions(
    context: typer.Context,
    catalog: CatalogFolder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
    target: catalog_remote.Target = None,
    tls: server_options.Tls = False,
    tls_ca: server_options.TlsCa = None,
    tls_cert: server_options.TlsCert = None,
    tls_key: server_options.TlsKey = None,
    insecure: server_options.Insecure = False,
    token_file: server_options.TokenFile = None,
) -> None:
    """List the revisions of a catalog, the newest first.

    A star marks the ones that a rollback can go back to; the content of the others was removed.
    """
    from sightline_server.catalog.content import is_living
    from sightline_server.catalog.log import read_recorded
    from sightline_server.index.catalog import read_facts

    with failures():
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure, token_file)
        if reach is not None:
            with catalog_remote.reached(context, reach, str(catalog)) as remote:
                show_remote(list(remote.revisions()), remote.state(), as_json=as_json)
            return
        if not is_living(catalog):
            read_facts(catalog)
            echo("[]" if as_json else NEVER_CHANGED)
            return
        recorded = read_recorded(catalog)
    if as_json:
        listed = [asdict(each) | {"kind": each.kind.value, "name": each.name} for each in recorded.revisions]
        echo_lines(json.dumps(listed))
        return
    for each in recorded.revisions:
        echo(line_of(each, item_word(recorded.generations[each.generation].facts)))
    if recorded.operations:
        show_pending(len(recorded.operations))


def show_remote(listed: "list[RemoteRevision]", state: "RemoteState", *, as_json: bool) -> None:
    """Prints the revisions of a catalog of a running server."""
    if as_json:
        echo_lines(json.dumps([asdict(each) for each in listed]))
        return
    for each in listed:
        echo(remote_line(each))
    if state.pending:
        show_pending(state.pending)


def show_pending(operations: int) -> None:
    """Prints the number of operations that no revision has."""
    echo(f"{counted(operations, 'operation')} since then {'is' if operations == 1 else 'are'} in the log")


def line_of(revision: "Revision", item: str) -> str:
    """One revision for a reader; `item` is the word for one of its vectors."""
    head = f"{revision.name}  {revision.created_at}  {revision.kind.value:<10}{generation_text(revision.generation)}"
    counts = f"{counted(revision.rows, 'product')}, {counted(revision.items, item)}"
    return line(revision.base_version is not None, head, counts, revision.note, revision.actor)


def remote_line(revision: "RemoteRevision") -> str:
    """One revision of a running server for a reader."""
    head = f"{revision.name}  {revision.created_at}  {revision.kind:<10}{generation_text(revision.generation)}"
    counts = f"{counted(revision.products, 'product')}, {counted(revision.images, 'image')}"
    return line(revision.available, head, counts, revision.note, revision.creator)


def generation_text(generation: int) -> str:
    """The generation of a revision for a reader; nothing for the first one."""
    return f"  generation {generation}" if generation > 1 else ""


def line(kept: bool, head: str, counts: str, note: str, creator: str) -> str:
    """The line of a revision; a star says that its content is kept."""
    noted = f"  {printable(note)}" if note else ""
    who = f"  by {printable(creator)}" if creator else ""
    return f"{'*' if kept else ' '} {printable(head)}  {counts}{noted}{who}"


def rollback(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Number of a revision, or its whole name.")],
    catalog: CatalogFolder,
    target: catalog_remote.Target = None,
    tls: server_options.Tls = False,
    tls_ca: server_options.TlsCa = None,
    tls_cert: server_options.TlsCert = None,
    tls_key: server_options.TlsKey = None,
    insecure: server_options.Insecure = False,
    token_file: server_options.TokenFile = None,
) -> None:
    """Make the content of a catalog equal to that of an earlier revision.

    This makes a new revision; nothing is removed, so that another rollback undoes it. A running server takes it with:
    sightline catalog reload.
    """
    from sightline_server.index.living import LivingCatalog

    with failures(STAYS):
        reach = catalog_remote.reach_of(target, tls, tls_ca, tls_cert, tls_key, insecure, token_file)
        number = number_of(revision)
        if reach is not None:
            with catalog_remote.reached(context, reach, str(catalog)) as remote:
                shown = roll_back(remote, number, revision)
            echo(f"{catalog}: the content is that of revision {number}")
            show_counts(shown.name, shown.products, shown.images)
            return
        with LivingCatalog(catalog, actor=actor()) as living:
            named = next((each for each in living.store.revisions if each.number == number), None)
            if named is not None:
                require_name(number, named.name, revision)
            made = rolled_back(living, number)
    echo(f"{catalog}: the content is that of revision {number}")
    show_revision(made, catalog)


def roll_back(remote: "RemoteCatalog", number: int, text: str) -> "RemoteRevision":
    """The revision that a rollback on a running server makes. Raises `SightlineError` for a name of another one."""
    if text != str(number):
        named = next((each for each in remote.revisions() if each.number == number), None)
        if named is not None:
            require_name(number, named.name, text)
    return remote.activate(number)


def require_name(number: int, name: str, text: str) -> None:
    """Raises `SightlineError` of kind CONFIGURATION when `text` is neither the number nor the name of a revision."""
    if text not in (str(number), name):
        raise SightlineError(ErrorKind.CONFIGURATION, f"revision {number} is {name}, not {text}")


def rolled_back(living: "LivingCatalog", number: int) -> "Revision":
    """The revision that a rollback makes. A number that cannot be gone back to is a wrong argument."""
    try:
        return living.store.rollback(number)
    except SightlineError as error:
        if error.kind not in (ErrorKind.INVALID_REQUEST, ErrorKind.REVISION_OUTDATED):
            raise
        raise SightlineError(ErrorKind.CONFIGURATION, error.message) from error


def number_of(text: str) -> int:
    """The number of a revision. Raises `SightlineError` of kind CONFIGURATION."""
    number = text.partition("-")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        message = f"{text!r} is not a revision; expected a number such as 3, or a name such as 3-0c1f6ab2e7d4"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return int(number)


def verify(
    catalog: LocalCatalogFolder,
    all_revisions: Annotated[bool, typer.Option("--all", help="Check every revision whose content is kept.")] = False,
) -> None:
    """Read a whole catalog and compare it with what was written.

    Changes nothing, and may run while the catalog is written to or served.
    """
    from sightline_server.catalog import verify as checks
    from sightline_server.catalog.content import is_living
    from sightline_server.index.catalog import open_catalog

    with failures():
        if not is_living(catalog):
            opened = open_catalog(catalog)
            whole = f"revision {opened.revision}: {counted(opened.facts.products, 'product')}: intact"
            findings = [checks.Finding(whole), *originals_findings(catalog)]
        else:
            findings = [*checks.verify(catalog, all_revisions=all_revisions), *originals_findings(catalog)]
    for finding in findings:
        echo(finding.text, err=not finding.good)
    if not all(finding.good for finding in findings):
        echo(
            f"sightline: the catalog at {catalog} is damaged; go back to an intact revision, or build it again",
            err=True,
        )
        raise typer.Exit(1)


def compact(
    catalog: LocalCatalogFolder,
    keep: Annotated[int, typer.Option(min=1, max=1000, help="How many revisions keep their content.")] = 20,
) -> None:
    """Give the space of deleted products and old revisions back to the disk.

    A rollback can then go back only to the newest revisions, as many as --keep says. Their content does not change.
    """
    from sightline_server.index.living import LivingCatalog

    with failures(STAYS):
        with LivingCatalog(catalog, actor=actor()) as living:
            before = bytes_of(catalog)
            made = living.compact(keep)
        echo(f"{catalog}: {megabytes(bytes_of(catalog))} on the disk, {megabytes(before)} before")
    show_revision(made, catalog)


def bytes_of(folder: Path) -> int:
    """The bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def megabytes(count: int) -> str:
    """A number of bytes for a reader."""
    return f"{count / 1e6:.1f} MB"
