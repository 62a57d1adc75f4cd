"""Checks of this machine for what the embedded engine needs, one finding each, for `sightline doctor` and
`sightline models check`.

Rule: it inspects and changes nothing.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from sightline_models.embedders import embedder_folders
from sightline_models.sources import sha256_of
from sightline_models.store import served_path
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
from sightline_server.embedded.precision import Comparison, Precision, cpu_has_bf16, obstacle
from sightline_server.embedded.precision_store import read_findings
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


def precision(home: Path, repository: Path, asked: str) -> Check:
    """The precision in which the models in `repository` run, by what CPU and engine have and what the gate has found.

    Raises `SightlineError` when no engine is installed under `home`.
    """
    installation, wanted = installation_of(home), Precision(asked)
    if reason := obstacle(wanted, installation, cpu_fits=cpu_has_bf16()):
        verdict = Verdict.FAIL if wanted is Precision.BF16 else Verdict.OK
        return Check("precision", verdict, f"float32: {reason}")
    findings = read_findings(home, installation)
    paths = {model: served_path(repository, model) for model in ("detector", "embedder", *embedder_folders(repository))}
    compared = {model: findings.get(sha256_of(path)) for model, path in paths.items() if path.is_file()}
    unknown = [model for model, found in compared.items() if found is None]
    told = [f"{model} {in_use(wanted, found)} ({found.finding})" for model, found in compared.items() if found]
    hint = "the next start of the server or `sightline models pull` compares them" if unknown else ""
    return Check("precision", Verdict.OK, "; ".join([*told, *(f"{model} not compared yet" for model in unknown)]), hint)


def in_use(wanted: Precision, found: Comparison) -> str:
    """The precision in which a model runs that has been compared."""
    return Precision.BF16.value if wanted is Precision.BF16 else found.chosen.value


def model_config(repository: Path, model: str) -> Path:
    """The `config.pbtxt` that the engine would use for `model`; it may be missing."""
    return config_path(repository, model)
