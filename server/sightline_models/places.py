"""The folders of this machine: the home for engine, models and catalogs, and the repository of the models.

Place in the flow: read by the command only; functions below it take their paths. The one rule: `SIGHTLINE_HOME` wins; a
package that runs from a checkout uses the checkout's own folders; an installed package uses those of the user.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sightline_models.errors import NoHomeError

HOME_VARIABLE = "SIGHTLINE_HOME"
CHECKOUT_HOME = ".sightline"
USUAL = "~/.local/share/sightline"
DEFAULT_HOME = f"{CHECKOUT_HOME} of the checkout, or {USUAL} without a checkout"
"""The default as help texts and error messages name it."""

PROJECT_NAME = re.compile(rb'^name\s*=\s*"sightline"', re.MULTILINE)


class HomeSource(Enum):
    """The reason why a folder is the home."""

    VARIABLE = f"set by {HOME_VARIABLE}"
    CHECKOUT = "of the checkout that this program runs from"
    USER = "of this user"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder for engine, models and catalogs, and the reason for it."""

    path: Path
    source: HomeSource


def locate_home(environment: Mapping[str, str] | None = None, package: Path | None = None) -> Home | None:
    """`$SIGHTLINE_HOME`, else `.sightline` of the checkout, else `~/.local/share/sightline`.

    None where it would lie below a user's home folder and there is none, as in many containers.

    Args:
        package: folder of this package; another one in tests.
    """
    stated = (os.environ if environment is None else environment).get(HOME_VARIABLE)
    root = None if stated else checkout(package)
    if root is not None:
        return Home(root / CHECKOUT_HOME, HomeSource.CHECKOUT)
    try:
        path = Path(stated or USUAL).expanduser()
    except RuntimeError:
        return None
    return Home(path, HomeSource.VARIABLE if stated else HomeSource.USER)


def find_home(environment: Mapping[str, str] | None = None) -> Path | None:
    """The path of `locate_home`, or None."""
    home = locate_home(environment)
    return None if home is None else home.path


def default_home(environment: Mapping[str, str] | None = None) -> Path:
    """`find_home`. Raises `NoHomeError` where there is none."""
    home = find_home(environment)
    if home is None:
        raise NoHomeError
    return home


def checkout(package: Path | None = None) -> Path | None:
    """The root of the source tree that this package runs from, as after `make setup`; None for an installed package.

    Args:
        package: folder of this package; another one in tests.
    """
    folder = package or Path(__file__).resolve().parent
    root = folder.parents[1]
    if folder.parent.name != "server" or not (root / "model_repository").is_dir():
        return None
    try:
        # Read by a pattern: a conflict elsewhere in the file must not move the home.
        return root if PROJECT_NAME.search((root / "pyproject.toml").read_bytes()) else None
    except OSError:
        return None


def default_repository(home: Path | None, package: Path | None = None) -> Path:
    """`model_repository/` of the checkout that this package runs from, else the one under `home`.

    Raises `NoHomeError` where there is neither.

    Args:
        package: folder of this package; another one in tests.
    """
    root = checkout(package)
    if root is not None:
        return root / "model_repository"
    if home is None:
        raise NoHomeError
    return home / "model_repository"


def missing_right(error: OSError) -> str:
    """The missing right and the file or folder, in one line."""
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path()
    if not os.access(path, os.F_OK):
        # It may be there all the same, below a folder that this user cannot enter; or it was to be made.
        path = next(folder for folder in path.parents if os.access(folder, os.F_OK))
    if error.errno == errno.EROFS:
        return f"{path} is on a read-only file system"
    lacking = "enter" if path.is_dir() and not os.access(path, os.X_OK) else "read"
    verb = lacking if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)) else "write to"
    return (
        f"this user may not {verb} {path}; run the command as its owner, or choose another folder with {HOME_VARIABLE}"
    )
