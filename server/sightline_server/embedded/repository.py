"""The model repository of an installation without a checkout: the configurations that the wheel carries.

Rule: a file that is there is never touched; a changed configuration is intended.
"""

import os
from pathlib import Path

from sightline_models.places import missing_right
from sightline_server.errors import ErrorKind, SightlineError

PACKAGED = Path(__file__).with_name("model_repository")
"""Filled when the wheel is built; absent in a checkout, whose `model_repository/` is used as it is."""


def config_path(repository: Path, model: str) -> Path:
    """The `config.pbtxt` that the engine would use for `model` once `assemble` has run."""
    stored, packaged = (folder / model / "config.pbtxt" for folder in (repository, PACKAGED))
    return packaged if packaged.exists() and not stored.exists() else stored


def assemble(repository: Path) -> None:
    """Puts the configurations that the wheel carries into `repository` where they are missing.

    Raises `SightlineError` of kind CONFIGURATION when this user may not write there.
    """
    try:
        copy_missing(repository)
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, missing_right(error)) from error


def copy_missing(repository: Path) -> None:
    """As `assemble`. Raises `OSError`."""
    for packaged in sorted(PACKAGED.glob("*/config.pbtxt")):
        target = repository / packaged.parent.name / packaged.name
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        partial.write_bytes(packaged.read_bytes())
        partial.replace(target)
