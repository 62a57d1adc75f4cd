"""`sightline engine install`: makes the engine's own environment and Triton's backend directory under the home folder.

    HOME/engine/venv/                   tritonserver, ONNX Runtime (the CPU's or CUDA's) and numpy below 2, pinned
    HOME/engine/backends/python/        Triton's Python backend with the stub of this Python version
    HOME/engine/backends/onnxruntime/   our backend (backend/model.py)
    HOME/engine/stamp.json              what it was made of

Rule: the folder appears whole, by renaming a finished one, or not at all; making it again changes nothing.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError

MINIMUM_GLIBC = (2, 35)
PYTHONS = ((3, 11), (3, 12))
NEEDED_BYTES = 900_000_000
"""Free disk that an installation asks for: about 330 MB in place and as much again while it is made."""
NEEDED_BYTES_CUDA = 8_000_000_000
"""The same with CUDA: 3.3 GB in place, 1.6 GB of wheels, and room to unpack them."""

CPU, CUDA = "cpu", "cuda"
REQUIREMENTS = {CPU: "requirements.txt", CUDA: "requirements-cuda.txt"}
"""The two builds of the engine, by what their ONNX Runtime can use."""
NVIDIA = re.compile(r"^nvidia-(?!pytriton)")
"""Requirements that are NVIDIA's libraries and nothing else."""

ELSEWHERE = "Run Triton elsewhere and start Sightline with --triton-url HOST:PORT instead."

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed engine: the places that starting it needs."""

    root: Path
    python_version: str
    libpython_dir: str
    has_cuda: bool = False

    @property
    def venv(self) -> Path:
        """The engine's own environment."""
        return self.root / "venv"

    @property
    def backends(self) -> Path:
        """Triton's `--backend-directory`."""
        return self.root / "backends"

    @property
    def site_packages(self) -> Path:
        """Where the engine's packages lie."""
        return self.venv / "lib" / f"python{self.python_version}" / "site-packages"

    @property
    def tritonserver(self) -> Path:
        """The server's program."""
        return self.site_packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def library_path(self) -> str:
        """`LD_LIBRARY_PATH` for the server and its stubs."""
        cuda = sorted(self.site_packages.glob("nvidia/*/lib")) if self.has_cuda else []
        return ":".join(map(str, (self.site_packages / "nvidia_pytriton.libs", *cuda, self.libpython_dir)))


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an installation was made of; equal stamps need no work."""

    requirements: str
    backend: str
    python_version: str
    base_prefix: str
    libpython_dir: str
    build: str = CPU


def installation_of(home: Path) -> Installation:
    """The engine installed under `home`. Raises CONFIGURATION when there is none or it is not this release's."""
    root = home / "engine"
    found = read_stamp(root)
    hint = "Run `sightline engine install`, or use a running Triton with --triton-url HOST:PORT."
    if found is None:
        raise SightlineError(ErrorKind.CONFIGURATION, f"no engine is installed in {root}. {hint}")
    if found.build not in REQUIREMENTS or found != wanted_stamp(found.build):
        raise SightlineError(ErrorKind.CONFIGURATION, f"the engine in {root} is of another release or Python. {hint}")
    return Installation(root, found.python_version, found.libpython_dir, found.build == CUDA)


def install(
    home: Path,
    *,
    gpu: bool | None = None,
    nvidia: bool = True,
    force: bool = False,
    progress: Progress = print,
) -> Installation:
    """Installs the engine under `home` if it is not there yet. Raises CONFIGURATION with what is in the way.

    `gpu` None keeps the build that is there, else takes the CPU's. Without `nvidia` its CUDA libraries are left out:
    the loader must find others.
    """
    root = home / "engine"
    with one_at_a_time(home):
        remove_leftovers(home)
        found = read_stamp(root)
        wanted = wanted_stamp(wanted_build(gpu, found))
        if not force and found == wanted:
            progress(f"engine: up to date in {root}")
        elif not force and found is not None and same_environment(found, wanted):
            refresh_backends(root, wanted)
            progress(f"engine: backend renewed in {root}")
        else:
            check_machine(home, NEEDED_BYTES_CUDA if wanted.build == CUDA else NEEDED_BYTES)
            build(root, wanted, progress, nvidia=nvidia)
            progress(f"engine: installed in {root}")
    return installation_of(home)


def wanted_build(gpu: bool | None, found: Stamp | None) -> str:
    """The build that is asked for; unasked, the one that is there."""
    if gpu is None:
        return found.build if found and found.build in REQUIREMENTS else CPU
    return CUDA if gpu else CPU


def build(root: Path, wanted: Stamp, progress: Progress, *, nvidia: bool) -> None:
    """Makes a whole engine beside `root` and puts it in place by renaming."""
    partial = root.with_name(f"engine.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        progress("engine: making its environment")
        venv.EnvBuilder(with_pip=False, symlinks=True).create(partial / "venv")
        size = "100 MB" if wanted.build == CPU else "1.6 GB" if nvidia else "360 MB"
        progress(f"engine: fetching Triton and ONNX Runtime (about {size})")
        fetch_packages(partial / "venv" / "bin" / "python", requirements(wanted.build, nvidia=nvidia))
        progress("engine: assembling the backends")
        made = Installation(partial, wanted.python_version, wanted.libpython_dir)
        assemble_backends(made, made.backends)
        write_stamp(partial, wanted)
        put_in_place(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def requirements(build: str, *, nvidia: bool = True) -> str:
    """What a build is made of, in pip's format; without `nvidia` less NVIDIA's libraries."""
    text = (resources.files("sightline_server.triton") / REQUIREMENTS[build]).read_text()
    blocks = re.split(r"\n(?=\S)", text)
    return "\n".join(block for block in blocks if nvidia or not NVIDIA.match(block))


def fetch_packages(python: Path, requirements: str) -> None:
    """Installs the pinned packages into the environment of `python` with the pip of this one."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write(requirements)
        listed.flush()
        options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile", "--no-input"]
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options]
        command += ["--disable-pip-version-check", "--requirement", listed.name]
        shown = sys.stderr.isatty()
        done = subprocess.run(command, stdout=None if shown else subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stdout or "").splitlines()[-15:])
        raise SightlineError(ErrorKind.CONFIGURATION, f"pip could not fetch the engine's packages.\n{tail}".rstrip())


def assemble_backends(made: Installation, folder: Path) -> None:
    """Fills Triton's backend directory: Python backend, the stub of this Python version, our backend."""
    carried = made.site_packages / "pytriton" / "tritonserver"
    shutil.copytree(carried / "backends" / "python", folder / "python")
    name = "triton_python_backend_stub"
    stub = folder / "python" / name
    shutil.copyfile(carried / "python_backend_stubs" / made.python_version / name, stub)
    stub.chmod(0o755)
    made.tritonserver.chmod(0o755)
    (folder / "onnxruntime").mkdir()
    for name, source in backend_sources().items():
        (folder / "onnxruntime" / name).write_bytes(source)


def refresh_backends(root: Path, wanted: Stamp) -> None:
    """Replaces the backends of an engine whose environment is as wanted."""
    fresh, old = root / f"backends.partial-{os.getpid()}", root / f"backends.old-{os.getpid()}"
    assemble_backends(Installation(root, wanted.python_version, wanted.libpython_dir), fresh)
    (root / "backends").rename(old)
    fresh.rename(root / "backends")
    write_stamp(root, wanted)
    shutil.rmtree(old, ignore_errors=True)


def put_in_place(partial: Path, root: Path) -> None:
    """Renames the finished folder to its name; the one that stood there is removed after."""
    old = root.with_name(f"engine.old-{os.getpid()}")
    if root.exists():
        root.rename(old)
    partial.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(home: Path) -> None:
    """Removes what interrupted installations left; the caller holds the lock, so nobody is at work there."""
    for leftover in (*home.glob("engine.partial-*"), *home.glob("engine.old-*"), *home.glob("engine/backends.*-*")):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def one_at_a_time(home: Path) -> Iterator[None]:
    """Holds the installation lock of `home`; a second installer waits for the first."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_machine(home: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """Raises CONFIGURATION with every reason why the engine cannot run or be installed here."""
    reasons = [*unfit_machine(), *unfit_place(home, needed_bytes)]
    if reasons:
        text = "; ".join(reasons)
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"the embedded engine cannot be installed here: {text}. {ELSEWHERE}"
        )


def unfit_machine() -> list[str]:
    """What about this machine and this Python keeps the embedded engine from running; empty when nothing does."""
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
    return reasons


def unfit_place(home: Path, needed_bytes: int = NEEDED_BYTES) -> list[str]:
    """What keeps `home` from taking an installation."""
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


def wanted_stamp(build: str) -> Stamp:
    """The stamp of an engine that this release would make with this Python."""
    return Stamp(
        requirements=hashlib.sha256(requirements(build).encode()).hexdigest(),
        backend=hashlib.sha256(b"".join(backend_sources().values())).hexdigest(),
        python_version=f"{sys.version_info.major}.{sys.version_info.minor}",
        base_prefix=sys.base_prefix,
        libpython_dir=libpython_dir(),
        build=build,
    )


def same_environment(found: Stamp, wanted: Stamp) -> bool:
    """Whether two stamps differ in nothing but our backend."""
    return asdict(found) | {"backend": ""} == asdict(wanted) | {"backend": ""}


def backend_sources() -> dict[str, bytes]:
    """Our backend's files, as shipped."""
    folder = resources.files("sightline_server.triton") / "backend"
    return {name: (folder / name).read_bytes() for name in ("model.py", "onnx_sessions.py")}


def read_stamp(root: Path) -> Stamp | None:
    """The stamp of the engine in `root`; None when there is none that can be read."""
    try:
        return Stamp(**json.loads((root / "stamp.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_stamp(root: Path, stamp: Stamp) -> None:
    """Writes the stamp by temporary name and rename; it comes last, so that it vouches for all else."""
    partial = root / f"stamp.json.partial-{os.getpid()}"
    with partial.open("w") as file:
        json.dump(asdict(stamp), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(root / "stamp.json")
