"""Sightline's packages as an installed wheel has them: outside of a checkout."""

import shutil
from pathlib import Path

from tests.support.engine import CHECKOUT

SOURCES = ("server", "clients/python", "protos/python", "examples/demo")


def copy_packages(folder: Path) -> Path:
    """Copies the packages to `folder`; returns it, for PYTHONPATH, which comes before the editable installation."""
    for source in SOURCES:
        shutil.copytree(
            CHECKOUT / source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.md")
        )
    return folder
