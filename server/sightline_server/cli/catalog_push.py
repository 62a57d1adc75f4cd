"""`sightline catalog push`: copies a local catalog into Milvus, checks the copy, and makes it the one that is served.

Rule: progress on standard error, the result on standard output. Exit code 0 when the copy is active, 2 when what was
asked for is wrong, 1 when Milvus does not answer or the copy is not right; what was active before stays so then.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo
from sightline_server.cli.catalog_changes import actor
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.export_progress import shown_export
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.domain.catalogs import NAME
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

PUSH_CALL_S = 60.0


class Target(StrEnum):
    """A database that catalogs are copied to."""

    MILVUS = "milvus"


def push(
    catalog: Annotated[
        str, typer.Argument(metavar="NAME|DIR", help="A catalog of --config by its name, or a catalog's folder.")
    ],
    to: Annotated[Target, typer.Option(help="The database.")],
    uri: Annotated[str, typer.Option(help="Its address, such as http://milvus.internal:19530 or https://HOST:PORT.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the catalog there (default: NAME, or that of the folder).")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with its token, or with USER:PASSWORD.", dir_okay=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the authority of its certificate.", dir_okay=False)
    ] = None,
    writable: Annotated[
        bool,
        typer.Option(
            "--writable",
            help="The server whose settings name the folder may write to the copy; a folder without a log gets one.",
        ),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Copy a catalog into Milvus as its next revision there.

    The copy is a new collection. Its count, samples of its rows and its recall are checked before it becomes the
    active one, and servers take it by themselves. The one before stays until the next push, which also removes what a
    push that failed has left. Up to index.exact_mib Milvus compares every vector; larger catalogs have a graph (HNSW).
    """
    from sightline_server.app.milvus_catalogs import require_pymilvus
    from sightline_server.index.adopting import adopt
    from sightline_server.index.catalog import open_catalog

    with failures("the catalog in Milvus is as it was"):
        settings = load(config)
        folder, known = found(catalog, settings)
        wanted = checked_name(name or known)
        require_pymilvus()
        from sightline_server.index.milvus.client import Milvus
        from sightline_server.index.milvus.pushing import push as push_to_milvus

        if writable:
            adopt(folder, actor=actor())
        opened = open_catalog(folder)
        if opened.content is not None and opened.content.revision.adapter:
            message = (
                f"the catalog at {folder} has an adapter, weights or a verdict, which Milvus cannot search by; serve "
                "the catalog from its folder, or remove them first: sightline adapt CATALOG --remove"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        token = token_file.read_text("utf-8").strip() if token_file else ""
        milvus = Milvus(uri, token=token, ca_file=str(ca_file or ""), call_s=PUSH_CALL_S)
        try:
            with shown_export(len(opened.vectors), "pushing") as progress:
                exact_mib = settings.index.exact_mib
                done = push_to_milvus(opened, wanted, milvus, exact_mib=exact_mib, writable=writable, progress=progress)
        finally:
            milvus.close()
    size = f"{len(opened.display)} products, {done.images} images"
    echo(f"{wanted}: revision {done.revision} is active in Milvus: {size}, recall@10 {done.recall:.3f}")


def found(catalog: str, settings: Settings) -> tuple[Path, str]:
    """The folder of a catalog that is given by its name or its folder, and its name."""
    folder = {**settings.catalog_folders, **settings.written_in_milvus}.get(catalog)
    return (folder, catalog) if folder is not None else (Path(catalog), Path(catalog).resolve().name)


def checked_name(name: str) -> str:
    """`name`. Raises `SightlineError` of kind CONFIGURATION where a server could not serve it."""
    if not NAME.fullmatch(name):
        message = f"{name!r} cannot be the name of a catalog; give another one with --name"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return name
