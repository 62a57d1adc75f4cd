"""The folders and addresses that an operation of the server may read a feed from, and write one to.

Rule: a caller names a file below a folder of the operator's, never any other file of this machine. Symbolic links that
lead out of the folder are refused, and the message is the same for a file that does not exist.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sightline_server.errors import ErrorKind, SightlineError

MAX_NAME_BYTES = 1024


@dataclass(frozen=True, slots=True)
class TransferFolders:
    """The folders of imports and exports; without one, there are none of that kind from or to files. `web` allows
    feeds from http(s) addresses."""

    import_folder: Path | None = None
    export_folder: Path | None = None
    web: bool = True

    def feed_file(self, name: str) -> Path:
        """The feed `name` below the folder of imports. Raises `SightlineError` of kind INVALID_REQUEST."""
        path = below(self.import_folder, name, "transfer.import_folder")
        if not path.is_file():
            raise invalid("there is no such file below transfer.import_folder")
        return path

    def export_file(self, name: str) -> Path:
        """The file `name` below the folder of exports, whose folder exists. Raises as `feed_file`."""
        path = below(self.export_folder, name, "transfer.export_folder")
        if not path.parent.is_dir():
            raise invalid("there is no such folder below transfer.export_folder; make it first")
        return path


def below(folder: Path | None, name: str, setting: str) -> Path:
    """The path of `name` below `folder`. Raises `SightlineError` of kind INVALID_REQUEST for any other path."""
    if folder is None:
        raise invalid(f"this server has no folder for files; its operator sets one with {setting}")
    parts = PurePosixPath(name).parts
    plain = name.isprintable() and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES and "\\" not in name
    if not plain or not parts or name.startswith("/") or name.endswith("/") or ".." in parts:
        raise invalid(f"expected the name of a file below {setting}, such as shop.csv or daily/shop.csv")
    if any(part.startswith(".") for part in parts):
        raise invalid("names that begin with a dot are not used")
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, RuntimeError, ValueError):  # too long a name, a circle of links
        raise invalid(f"expected the name of a file below {setting}") from None
    if not path.is_relative_to(root) or path == root:
        raise invalid(f"there is no such file below {setting}")
    return path


def invalid(text: str) -> SightlineError:
    """The error of a path that is not used."""
    return SightlineError(ErrorKind.INVALID_REQUEST, text, field="uri")
