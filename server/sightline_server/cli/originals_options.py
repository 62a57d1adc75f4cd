"""The option that makes a catalog keep the original files of its images, and what `catalog info` shows of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError

if TYPE_CHECKING:
    from sightline_server.catalog.verify import Finding

MB = 1e6

KeepOriginals = Annotated[
    bool | None,
    typer.Option(
        "--keep-originals/--no-keep-originals",
        help="Keep the image files in the catalog's folder, so that `catalog reembed` need not fetch them again; "
        "--no-keep-originals removes those that are kept (default: as the catalog does).",
    ),
]


def require_folder(keep_originals: bool | None) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where the option was given for the catalog of a server."""
    if keep_originals is not None:
        message = (
            "--keep-originals and --no-keep-originals need a folder instead of --target; for catalogs that a server "
            "creates set server.keep_originals"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def originals_text(catalog: Path) -> str:
    """The originals that the catalog keeps, for a reader; empty where it keeps none. Raises `SightlineError`."""
    from sightline_server.catalog.originals import originals_size

    size = originals_size(catalog)
    if size is None:
        return ""
    content = f"{counted(size.files, 'image file')}, {size.content_bytes / MB:.1f} MB"
    return f"{content} ({size.disk_bytes / MB:.1f} MB on the disk)"


def originals_findings(catalog: Path) -> "Iterator[Finding]":
    """Compares every original of the catalog with its name. Raises `SightlineError`."""
    from sightline_server.catalog.originals import damaged_files, originals_size
    from sightline_server.catalog.verify import Finding

    size = originals_size(catalog)
    if size is None:
        return
    damaged = list(damaged_files(catalog))
    for name in damaged:
        yield Finding(f"originals: file {name} is not what was stored", good=False)
    if not damaged:
        yield Finding(f"originals: {counted(size.files, 'image file')}: intact")
