"""Where models and downloads live on this machine.

Place in the flow: read by the command only; functions below it take their paths. The one rule: in a checkout the models
go into its own `model_repository/`, anywhere else under the home folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from sightline_models.errors import NoHomeError

HOME_VARIABLE = "SIGHTLINE_HOME"
USUAL = "~/.local/share/sightline"


def find_home(environment: Mapping[str, str] | None = None) -> Path | None:
    """`$SIGHTLINE_HOME`, else `~/.local/share/sightline`; None for a user without a home, as in many containers."""
    place = (os.environ if environment is None else environment).get(HOME_VARIABLE) or USUAL
    try:
        return Path(place).expanduser()
    except RuntimeError:
        return None


def default_home(environment: Mapping[str, str] | None = None) -> Path:
    """`find_home`. Raises `NoHomeError` where there is none."""
    home = find_home(environment)
    if home is None:
        raise NoHomeError
    return home


def default_repository(home: Path | None, package: Path | None = None) -> Path:
    """`model_repository/` of the checkout that holds this package, else the one under `home`.

    Raises `NoHomeError` where there is neither.

    Args:
        package: folder of this package; another one in tests.
    """
    root = (package or Path(__file__).resolve().parent).parent.parent
    if (root / "pyproject.toml").is_file() and (root / "model_repository").is_dir():
        return root / "model_repository"
    if home is None:
        raise NoHomeError
    return home / "model_repository"


def missing_right(error: OSError) -> str:
    """Which right to which file or folder this user lacks, in one line."""
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path()
    if not os.access(path, os.F_OK):
        # It may be there all the same, below a folder that this user cannot enter; or it was to be made.
        path = next(folder for folder in path.parents if os.access(folder, os.F_OK))
    if error.errno == errno.EROFS:
        return f"{path} is on a read-only file system"
    lacking = "enter" if path.is_dir() and not os.access(path, os.X_OK) else "read"
    verb = lacking if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)) else "write to"
    return f"this user may not {verb} {path}; run the command as its owner, or name another place with {HOME_VARIABLE}"
