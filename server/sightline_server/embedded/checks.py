"""Checks of this machine for what the embedded engine needs, one finding each, for `sightline doctor` and
`sightline models check`.

Rule: it inspects and changes nothing.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from sightline_server.domain.checks import Check, Verdict
from sightline_server.embedded.fitness import (
    ELSEWHERE,
    MINIMUM_GLIBC,
    NEEDED_BYTES,
    PYTHONS,
    glibc_version,
    unfit_python,
)
from sightline_server.embedded.installation import installation_of
from sightline_server.embedded.repository import config_path


def python() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()} on {sys.platform} {platform.machine()}"
    if reasons := unfit_python():
        return Check("Python", Verdict.WARN, found, f"the embedded engine cannot run: {'; '.join(reasons)}")
    if sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info[:2] in PYTHONS:
        return Check("Python", Verdict.OK, found)
    return Check(
        "Python", Verdict.WARN, found, f"the embedded engine needs Linux x86-64, Python 3.11 or 3.12. {ELSEWHERE}"
    )


def c_library() -> Check:
    """The C library that the embedded engine is linked to."""
    have = glibc_version()
    found = "glibc " + ".".join(map(str, have)) if have else "not glibc"
    if have >= MINIMUM_GLIBC:
        return Check("C library", Verdict.OK, found)
    return Check("C library", Verdict.WARN, found, f"the embedded engine needs glibc 2.35. {ELSEWHERE}")


def disk(home: Path) -> Check:
    """Room for engine, models and catalogs."""
    place = next(folder for folder in (home, *home.parents) if os.access(folder, os.F_OK))
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free in {home}"
    if free >= 2 * NEEDED_BYTES or os.path.isdir(home / "engine"):
        return Check("disk", Verdict.OK, found)
    verdict = Verdict.WARN if free >= NEEDED_BYTES else Verdict.FAIL
    return Check(
        "disk", verdict, found, f"set-up takes {NEEDED_BYTES / 1e9:.1f} GB; SIGHTLINE_HOME chooses another folder"
    )


def installed(home: Path) -> Path:
    """The folder of the engine that is installed under `home`. Raises `SightlineError` when there is none."""
    return installation_of(home).root


def model_config(repository: Path, model: str) -> Path:
    """The `config.pbtxt` that the engine would use for `model`; it may be missing."""
    return config_path(repository, model)
