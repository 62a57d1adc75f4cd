"""Does the machine's NVIDIA driver speak the CUDA version that the wheels want? Asked before anything is installed.

Rule: standard library only and no GPU library; the driver reports its version through libcuda, a wheel by the
runtime that it requires.
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from sightline_server.embedded.devices import Driver, find_driver

Version = tuple[int, int]
RUNTIME = re.compile(r"^nvidia-cuda-runtime(?:-cu\d+)?\b[^;]*?(?:>=|~=|==)\s*(\d+)\.(\d+)")
CUDA_PACKAGES = ("faiss-gpu", "faiss-gpu-cuvs", "onnxruntime-gpu")
OLDEST_DRIVER = {12: "525", 13: "580"}
"""The first driver branch that runs every minor version of a CUDA major version."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer whether wheels can run with a driver, and the reason."""

    fits: bool
    text: str


def runtime_of(requirements: Iterable[str]) -> Version | None:
    """The least CUDA runtime among a package's requirements; None where it asks for none."""
    found = [match for requirement in requirements if (match := RUNTIME.match(requirement.strip()))]
    return (int(found[0][1]), int(found[0][2])) if found else None


def judge(driver: Driver | None, asked: Mapping[str, Version]) -> Verdict:
    """Decides whether all of `asked` (package -> CUDA version) can run with `driver`.

    A driver runs every runtime of the same CUDA major version ("minor version compatibility") and of older ones.
    """
    if driver is None:
        return Verdict(False, "no NVIDIA driver: libcuda.so.1 cannot be loaded. For the small CPU mode: run.sh --cpu")
    if not driver.gpus:
        return Verdict(False, "the NVIDIA driver shows no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES")
    have = dotted(driver.cuda)
    too_new = [f"{name} needs CUDA {dotted(version)}" for name, version in asked.items() if version[0] > driver.cuda[0]]
    if too_new:
        majors = {version[0] for version in asked.values() if version[0] > driver.cuda[0]}
        drivers = ", ".join(f"CUDA {major}: {OLDEST_DRIVER.get(major, '?')}" for major in sorted(majors))
        text = f"the driver speaks CUDA {have}, but {'; '.join(too_new)}. Oldest driver for {drivers}"
        return Verdict(False, text)
    newer = [f"{name} {dotted(version)}" for name, version in asked.items() if version > driver.cuda]
    note = f"; newer within the same major version, which works: {', '.join(newer)}" if newer else ""
    wanted = ", ".join(f"{name} {dotted(version)}" for name, version in asked.items()) or "nothing"
    return Verdict(True, f"the driver speaks CUDA {have}, GPUs: {driver.gpus}; asked: {wanted}{note}")


def dotted(version: Version) -> str:
    """Such as 13.0."""
    return f"{version[0]}.{version[1]}"


def asked_by_wheels(folder: Path) -> dict[str, Version]:
    """Package -> CUDA runtime, of the wheels below `folder`."""
    found = {}
    for wheel in sorted(folder.rglob("*.whl")):
        name = wheel.name.split("-")[0].replace("_", "-")
        if name in CUDA_PACKAGES and (version := runtime_of(wheel_requirements(wheel))):
            found[name] = version
    return found


def wheel_requirements(wheel: Path) -> list[str]:
    """The `Requires-Dist` of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(member).decode().splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]


def asked_by_site(site: Path) -> dict[str, Version]:
    """Package -> CUDA runtime, of what is installed in `site`."""
    found = {}
    for distribution in distributions(path=[str(site)]):
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if name in CUDA_PACKAGES and (version := runtime_of(distribution.requires or ())):
            found[name] = version
    return found


def main() -> int:
    """Prints the verdict on standard error; 0 when everything fits, else 2."""
    parser = argparse.ArgumentParser(prog="python3 -m load_tests.gpu.driver", description=__doc__)
    parser.add_argument("--wheels", type=Path, action="append", default=[], help="folder with wheels")
    parser.add_argument("--site", type=Path, action="append", default=[], help="site-packages of an environment")
    arguments = parser.parse_args()
    asked: dict[str, Version] = {}
    for folder in arguments.wheels:
        asked |= asked_by_wheels(folder)
    for site in arguments.site:
        asked |= asked_by_site(site)
    verdict = judge(find_driver(), asked)
    print(f"driver: {verdict.text}", file=sys.stderr)
    return 0 if verdict.fits else 2


if __name__ == "__main__":
    sys.exit(main())
