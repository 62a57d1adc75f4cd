"""Where models and downloads live on this machine.

Place in the flow: read by the command only; functions below it take their paths. The one rule: in a checkout the models
go into its own `model_repository/`, anywhere else under the home folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOME_VARIABLE = "SIGHTLINE_HOME"


def default_home(environment: Mapping[str, str] | None = None) -> Path:
    """`$SIGHTLINE_HOME`, else `~/.local/share/sightline`."""
    stated = (os.environ if environment is None else environment).get(HOME_VARIABLE)
    return Path(stated).expanduser() if stated else Path.home() / ".local" / "share" / "sightline"


def default_repository(home: Path, package: Path | None = None) -> Path:
    """`model_repository/` of the checkout that holds this package, else the one under `home`.

    Args:
        package: folder of this package; another one in tests.
    """
    root = (package or Path(__file__).resolve().parent).parent.parent
    if (root / "pyproject.toml").is_file() and (root / "model_repository").is_dir():
        return root / "model_repository"
    return home / "model_repository"
