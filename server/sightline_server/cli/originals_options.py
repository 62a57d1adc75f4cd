"""The options that make a catalog keep files of its images, and what `catalog info` and `verify` show of them.

The files are the original ones, and local features by which searches compare print.
"""

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
LocalFeatures = Annotated[
    bool | None,
    typer.Option(
        "--local-features/--no-local-features",
        help="Keep local features of each image in the catalog's folder, at most 51 KB an image, by which searches "
        "compare printed packages; --no-local-features removes those that are kept (default: as the catalog does; a "
        "built one also by what the configuration of its embedder says).",
    ),
]


def require_folder(keep_originals: bool | None, local_features: bool | None = None) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where an option was given for the catalog of a server."""
    if local_features is not None:
        message = (
            "--local-features and --no-local-features need a folder instead of --target; for catalogs that a server "
            "creates set server.keep_local_features"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
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


def features_text(catalog: Path) -> str:
    """The local features that the catalog keeps, human-readable; empty where it keeps none. Raises `SightlineError`."""
    from sightline_server.catalog.originals import originals_size
    from sightline_server.catalog.originals_file import FEATURE_FILES

    size = originals_size(catalog, FEATURE_FILES)
    if size is None:
        return ""
    return f"of {counted(size.files, 'image')}, {size.disk_bytes / MB:.1f} MB on the disk"


def originals_findings(catalog: Path) -> "Iterator[Finding]":
    """Compares every kept file of the catalog's images with its name. Raises `SightlineError`."""
    from sightline_server.catalog.originals import damaged_files, originals_size
    from sightline_server.catalog.originals_file import KINDS
    from sightline_server.catalog.verify import Finding

    for kind in KINDS:
        size = originals_size(catalog, kind)
        if size is None:
            continue
        damaged = list(damaged_files(catalog, kind))
        for name in damaged:
            yield Finding(f"{kind.name}: file {name} is not what was stored", good=False)
        if not damaged:
            yield Finding(f"{kind.name}: {counted(size.files, kind.unit)}: intact")
