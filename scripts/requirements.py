"""Writes `requirements/*.txt`, which pip installs with `--require-hashes`; `--check` exits 1 when one is stale.

    cpu, gpu, gpu-cuvs   the server with one FAISS, as locked in uv.lock
    ray                  what a build on a Ray cluster needs, as locked; into an environment that has one of the first
    dev                  what the build, the tests and the checks need, as locked
    build                what the build alone needs, as locked
    floors               the server, the traces and the tests on the lowest versions that pyproject.toml allows

Rule: nothing is resolved by `--check`, so that it needs no network and does not fail when a new version appears.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
HEAD = "# Made by `make lock` (scripts/requirements.py); installed with --require-hashes.\n"
SHARED = ["--quiet", "--no-annotate", "--no-header"]
EXPORTS: Mapping[str, list[str]] = {
    **{name: ["--extra", name, "--no-default-groups"] for name in ("cpu", "gpu", "gpu-cuvs", "ray")},
    **{name: ["--only-group", name] for name in ("dev", "build")},
}
FLOORS = "floors"
FLOOR_EXTRAS = ("cpu", "otel")
FLOOR_GROUPS = ("build", "test")
PROJECT = "sightline"


def main() -> int:
    """Writes or checks every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if parser.parse_args().check:
        faults = list(stale_files())
        sys.stderr.writelines(f"{fault}\n" for fault in faults)
        return 1 if faults else 0
    FOLDER.mkdir(exist_ok=True)
    for name in EXPORTS:
        file_of(name).write_text(exported(name))
    file_of(FLOORS).write_text(resolved_floors())
    faults = list(floor_faults(declared(), pins(file_of(FLOORS).read_text())))
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def stale_files() -> Iterator[str]:
    """One line for each file that is not what pyproject.toml and uv.lock say."""
    locked = subprocess.run([uv(), "lock", "--check", "--offline", "--quiet"], cwd=ROOT, capture_output=True)
    if locked.returncode:
        yield "uv.lock does not match pyproject.toml; run `make lock` and commit what it writes"
        return
    for name in EXPORTS:
        path = file_of(name)
        if not path.exists() or path.read_text() != exported(name):
            yield f"{path.relative_to(ROOT)} does not match uv.lock; run `make lock` and commit what it writes"
    yield from floor_faults(declared(), pins(file_of(FLOORS).read_text()))


def exported(name: str) -> str:
    """The export of uv.lock that is called `name`."""
    return HEAD + run_uv("export", "--frozen", "--offline", "--no-emit-project", *SHARED, *EXPORTS[name])


def resolved_floors() -> str:
    """The lowest direct dependencies, with hashes; what only they ask for stays as it is in the present file."""
    # uv reads the pins to keep from the file that it writes.
    output = FOLDER / ".floors.partial"
    if file_of(FLOORS).exists():
        shutil.copyfile(file_of(FLOORS), output)
    options = ["--resolution", "lowest-direct", "--generate-hashes", "--universal", "--python-version", "3.11"]
    options += [part for extra in FLOOR_EXTRAS for part in ("--extra", extra)]
    options += [part for group in FLOOR_GROUPS for part in ("--group", group)]
    try:
        run_uv("pip", "compile", *SHARED, *options, "pyproject.toml", "--output-file", str(output))
        return HEAD + output.read_text()
    finally:
        output.unlink(missing_ok=True)


def floor_faults(wanted: Mapping[str, Version | None], pinned: Mapping[str, Version]) -> Iterator[str]:
    """One line for each direct dependency whose floor is missing or is not the version that the floors run tests."""
    for name, floor in sorted(wanted.items()):
        if floor is None:
            yield f"pyproject.toml: {name} has no floor; write `{name}>=VERSION`"
        elif name not in pinned:
            yield f"requirements/floors.txt lacks {name}; run `make lock`"
        elif pinned[name] < floor:
            yield f"requirements/floors.txt has {name} {pinned[name]}, below its floor {floor}; run `make lock`"
        elif pinned[name] > floor:
            yield (
                f"pyproject.toml: {name}>={floor} is too low: the lowest version that fits the other dependencies is "
                f"{pinned[name]}; write that (or, if the floor was just lowered, run `make lock`)"
            )


def declared() -> dict[str, Version | None]:
    """The floor of every direct dependency of the floors run, by its name; None where it has none."""
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())
    floors: dict[str, Version | None] = {}
    for requirement in direct(facts):
        found = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==")]
        known = floors.get(requirement.name)
        floors[requirement.name] = max([*found, *([known] if known else [])], default=None)
    return floors


def direct(facts: Mapping[str, Any]) -> Iterator[Requirement]:
    """The requirements that pyproject.toml states for what the floors run installs."""
    project = facts["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in ("server", *FLOOR_EXTRAS))]
    lists += [facts["dependency-groups"][group] for group in FLOOR_GROUPS]
    for texts in lists:
        for requirement in map(Requirement, texts):
            if requirement.name != PROJECT:
                yield requirement


def pins(text: str) -> dict[str, Version]:
    """The version of each package in the text of a requirements file."""
    return {name: Version(version) for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def file_of(name: str) -> Path:
    """The requirements file that is called `name`."""
    return FOLDER / f"{name}.txt"


def run_uv(*arguments: str) -> str:
    """The output of uv. Exits with its message when it fails."""
    done = subprocess.run([uv(), *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"uv {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def uv() -> str:
    """uv of this environment, else the one on PATH. Exits when there is none."""
    found = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    return found or sys.exit("uv is missing; run `make env`")


if __name__ == "__main__":
    sys.exit(main())
