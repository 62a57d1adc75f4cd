"""`--catalog [NAME=]DIR`, given once or more: which catalogs a server has, and under which names.

Rule: what is in front of the first `=` is a name if it looks like one, so that folders with a `=` in their path work:
`./a=b` and `/srv/a=b` are folders, `a=b` is folder b under the name a.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline_server.domain.catalogs import NAME
from sightline_server.errors import ErrorKind, SightlineError


@dataclass(frozen=True, slots=True)
class CatalogOptions:
    """The folders of the command line: at most one without a name, and the others by name, in order."""

    unnamed: Path | None
    named: Mapping[str, Path]


def parse_catalogs(values: Sequence[str]) -> CatalogOptions | None:
    """The catalogs of `values`; None where there are none.

    Raises `SightlineError` of kind CONFIGURATION for two folders of one name, two without a name, and an empty folder.
    """
    unnamed: list[str] = []
    named: dict[str, Path] = {}
    for value in values:
        name, folder = split(value)
        if not folder:
            raise wrong(f"{value!r} has no folder; give [NAME=]DIR")
        if not name:
            unnamed.append(folder)
        elif name in named:
            raise wrong(f"{name} is given twice: {named[name]} and {folder}; each catalog needs its own name")
        else:
            named[name] = Path(folder)
    if len(unnamed) > 1:
        raise wrong(f"{unnamed[0]} and {unnamed[1]} have no name; several catalogs need names: --catalog NAME=DIR")
    return CatalogOptions(Path(unnamed[0]) if unnamed else None, named) if values else None


def split(value: str) -> tuple[str, str]:
    """Name, which may be empty, and folder."""
    name, separator, folder = value.partition("=")
    return (name, folder) if separator and NAME.fullmatch(name) else ("", value)


def wrong(message: str) -> SightlineError:
    """The error of options that cannot be used."""
    return SightlineError(ErrorKind.CONFIGURATION, f"--catalog: {message}")
