"""The shared part of the commands that change a catalog: options, the name of the user, the report of a revision.

Rule: what was written is reported on standard output, with the new revision. Exit code 0 when something was written, 1
when nothing could be, 2 when what was asked for is wrong.
"""

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_console.terminal import echo

if TYPE_CHECKING:
    from sightline_server.catalog.revisions import Revision

LocalCatalogFolder = Annotated[Path, typer.Option("--catalog", metavar="DIR", help="The catalog's folder.")]
CatalogFolder = Annotated[
    Path, typer.Option("--catalog", metavar="DIR", help="The catalog's folder; with --target its name.")
]
STAYS = "what was written before stays"
"""The text for a change that was interrupted."""


def actor() -> str:
    """The user that runs the command, as revisions name it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return f"uid {os.getuid()}"


def show_revision(revision: "Revision", catalog: Path) -> None:
    """Prints the revision that a command made in the folder `catalog`."""
    from sightline_server.catalog.log import read_recorded
    from sightline_server.domain.image_views import item_word
    from sightline_server.index.milvus.binding import read_binding

    generation = read_recorded(catalog).generations[revision.generation]
    show_counts(revision.name, revision.rows, revision.items, item_word(generation.facts))
    if read_binding(catalog) is not None:
        echo(
            "Its copy in Milvus is as it was, and is not written until the two are equal: sightline catalog push "
            f"{catalog} --to milvus --uri URI --writable",
            err=True,
        )
        return
    echo("A running server serves this revision after `sightline catalog reload`.", err=True)


def show_counts(name: str, products: int, items: int, item: str = "image") -> None:
    """Prints the name and the size of a revision; `item` is the word for one of `items`."""
    echo(f"revision    {name}")
    echo(f"products    {products}")
    echo(f"{f'{item}s':<12}{items}")
