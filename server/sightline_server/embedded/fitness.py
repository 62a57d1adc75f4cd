"""Checks of a machine and its disk for the embedded engine."""

import os
import platform
import shutil
import sys
import sysconfig
from ctypes.util import find_library
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError

MINIMUM_GLIBC = (2, 35)
PYTHONS = ((3, 11), (3, 12))
NEEDED_BYTES = 900_000_000
"""Free disk that an installation asks for: about 330 MB in place and as much again while it is made."""
NEEDED_BYTES_BF16 = 1_200_000_000
"""The same with OpenVINO: about 450 MB in place."""
NEEDED_BYTES_CUDA = 8_000_000_000
"""The same with CUDA: 3.3 GB in place, 1.6 GB of wheels, and room to unpack them."""
ELSEWHERE = "Run Triton elsewhere and start Sightline with --triton-url HOST:PORT instead."


def check_machine(home: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """Raises CONFIGURATION with every reason why the engine cannot run or be installed here."""
    reasons = [*unfit_machine(), *unfit_place(home, needed_bytes)]
    if reasons:
        text = "; ".join(reasons)
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"the embedded engine cannot be installed here: {text}. {ELSEWHERE}"
        )


def unfit_machine() -> list[str]:
    """The reasons why this machine or this Python cannot run the embedded engine; empty when it can."""
    reasons = []
    if sys.platform != "linux" or platform.machine() != "x86_64":
        reasons.append(f"it needs Linux on x86-64, this is {sys.platform} on {platform.machine()}")
    if sys.version_info[:2] not in PYTHONS:
        reasons.append(f"it needs Python 3.11 or 3.12, this is {platform.python_version()}")
    if (glibc := glibc_version()) < MINIMUM_GLIBC:
        reasons.append(f"it needs glibc 2.35 or newer, this is {'.'.join(map(str, glibc)) or 'another C library'}")
    if not libpython_dir():
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
        reasons.append(f"this Python comes without its shared library {name}")
    return [*reasons, *unfit_python()]


def unfit_python() -> list[str]:
    """The reasons why this Python's path keeps it from running in the stubs; empty when it can."""
    if sys.base_prefix.isascii():
        return []
    # Embedded in the stubs, it decodes its own path as ASCII whatever the locale is.
    return [f"it needs a Python whose path is ASCII, this one is in {sys.base_prefix}"]


def check_python() -> None:
    """Raises CONFIGURATION when this Python cannot run in the stubs."""
    if reasons := unfit_python():
        text = f"the embedded engine cannot run here: {'; '.join(reasons)}. {ELSEWHERE}"
        raise SightlineError(ErrorKind.CONFIGURATION, text)


def unfit_place(home: Path, needed_bytes: int = NEEDED_BYTES) -> list[str]:
    """The reasons why `home` cannot hold an installation."""
    free = shutil.disk_usage(home).free
    if free < needed_bytes:
        return [f"{home} has {free // 1_000_000} MB free and {needed_bytes // 1_000_000} MB are needed"]
    return []


def glibc_version() -> tuple[int, ...]:
    """The C library's version, such as (2, 36); empty where it is not glibc."""
    name = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}) else None
    return tuple(int(part) for part in name.split()[-1].split(".")[:2]) if name else ()


def libpython_dir() -> str:
    """The folder of this Python's shared library, which the stub is linked to; empty where there is none."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    places = [str(sysconfig.get_config_var("LIBDIR") or ""), f"{sys.base_prefix}/lib", "/usr/lib/x86_64-linux-gnu"]
    for place in places:
        if place and Path(place, name).exists():
            return place
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # Where the loader finds it by itself, any folder will do.
    return "/usr/lib" if find_library(version) else ""
