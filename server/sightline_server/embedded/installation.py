"""An installed engine: its paths, its contents, and the stamp that vouches for them.

HOME/engine/venv/                   tritonserver, ONNX Runtime (the CPU's or CUDA's) and numpy below 2, pinned;
                                    with bf16 also OpenVINO's provider
HOME/engine/backends/python/        Triton's Python backend with the stub of this Python version
HOME/engine/backends/onnxruntime/   our backend (backend/)
HOME/engine/stamp.json              what it was made of
"""

import hashlib
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from sightline_models.places import missing_right
from sightline_server.embedded.fitness import libpython_dir
from sightline_server.errors import ErrorKind, SightlineError

CPU, BF16, CUDA = "cpu", "cpu-bf16", "cuda"
REQUIREMENTS = {
    CPU: ("requirements.txt",),
    BF16: ("requirements.txt", "requirements-bf16.txt"),
    CUDA: ("requirements-cuda.txt",),
}
"""The builds of the engine, by what their ONNX Runtime can use: their files of requirements."""
NVIDIA = re.compile(r"^nvidia-(?!pytriton)")
"""Requirements that are NVIDIA's libraries and nothing else."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed engine: the paths that its start needs."""

    root: Path
    python_version: str
    libpython_dir: str
    has_cuda: bool = False
    build: str = CPU

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
        """The folder of the engine's packages."""
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
    """The contents of an installation; equal stamps need no work."""

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
    return Installation(root, found.python_version, found.libpython_dir, found.build == CUDA, found.build)


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
    """Returns whether two stamps differ in nothing but our backend."""
    return asdict(found) | {"backend": ""} == asdict(wanted) | {"backend": ""}


def requirements(build: str, *, nvidia: bool = True) -> str:
    """The requirements of a build, in pip's format; without `nvidia` less NVIDIA's libraries."""
    folder = resources.files("sightline_server.embedded")
    text = "\n".join((folder / name).read_text() for name in REQUIREMENTS[build])
    blocks = re.split(r"\n(?=\S)", text)
    return "\n".join(block for block in blocks if nvidia or not NVIDIA.match(block))


def backend_sources() -> dict[str, bytes]:
    """Our backend's files, as shipped."""
    folder = resources.files("sightline_server.embedded") / "backend"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
    return {file.name: file.read_bytes() for file in files}


def read_stamp(root: Path) -> Stamp | None:
    """The stamp of the engine in `root`; None when there is none. Raises CONFIGURATION where it must not be read."""
    try:
        return Stamp(**json.loads((root / "stamp.json").read_text()))
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"the engine cannot be read: {missing_right(error)}") from error
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
