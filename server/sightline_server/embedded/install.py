"""`sightline engine install`: makes the engine's own environment and Triton's backend directory under the home folder.

Rule: the folder appears whole, by renaming a finished one, or not at all; making it again changes nothing.
"""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline_models.places import missing_right
from sightline_server.embedded.fitness import NEEDED_BYTES, NEEDED_BYTES_BF16, NEEDED_BYTES_CUDA, check_machine
from sightline_server.embedded.installation import (
    BF16,
    CPU,
    CUDA,
    REQUIREMENTS,
    Installation,
    Stamp,
    backend_sources,
    installation_of,
    read_stamp,
    requirements,
    same_environment,
    wanted_stamp,
    write_stamp,
)
from sightline_server.embedded.precision import cpu_has_bf16
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.runtime_folder import RuntimeFolder

Progress = Callable[[str], None]
NEEDED = {CPU: NEEDED_BYTES, BF16: NEEDED_BYTES_BF16, CUDA: NEEDED_BYTES_CUDA}
"""Free disk that the builds ask for."""
SIZES = {CPU: "100 MB", BF16: "150 MB"}
"""Downloads of the builds for a CPU."""


def install(
    home: Path,
    *,
    gpu: bool | None = None,
    bf16: bool | None = None,
    nvidia: bool = True,
    force: bool = False,
    progress: Progress = print,
) -> Installation:
    """Installs the engine under `home` if it is not there yet. Raises CONFIGURATION with what is in the way.

    Without `gpu` and `bf16` the build that is there is kept, else it is one for the CPU: with `bf16`, or where that is
    None and the CPU has it, with OpenVINO's provider. Without `nvidia` the CUDA libraries of `gpu` are left out: the
    loader must find others.
    """
    root = home / "engine"
    found = read_stamp(root)
    if not force and found == wanted_stamp(wanted_build(gpu, bf16, found)) and not may_write(home):
        # A user who may only read the home needs no lock for that: nothing is to be done.
        progress(f"engine: up to date in {root}")
        return installation_of(home)
    try:
        return install_locked(home, gpu=gpu, bf16=bf16, nvidia=nvidia, force=force, progress=progress)
    except PermissionError as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"the engine cannot be installed: {missing_right(error)}"
        ) from error
    except OSError as error:
        reason = f"{error.filename or home}: {in_words(error)}"
        raise SightlineError(ErrorKind.CONFIGURATION, f"the engine cannot be installed: {reason}") from error


def install_locked(
    home: Path, *, gpu: bool | None, bf16: bool | None, nvidia: bool, force: bool, progress: Progress
) -> Installation:
    """As `install`, one at a time for each home. Raises `OSError` for what cannot be written."""
    root = home / "engine"
    with one_at_a_time(home):
        remove_leftovers(home)
        found = read_stamp(root)
        wanted = wanted_stamp(wanted_build(gpu, bf16, found))
        if not force and found == wanted:
            progress(f"engine: up to date in {root}")
        elif not force and found is not None and same_environment(found, wanted):
            refresh_backends(root, wanted)
            progress(f"engine: backend renewed in {root}")
        else:
            check_machine(home, NEEDED[wanted.build])
            build(root, wanted, progress, nvidia=nvidia)
            progress(f"engine: installed in {root}")
    return installation_of(home)


def may_write(home: Path) -> bool:
    """Returns whether this user could change the installation under `home`."""
    return os.access(home, os.W_OK | os.X_OK)


def in_words(error: OSError) -> str:
    """The operating system's reason."""
    return (error.strerror or str(error)).lower()


def wanted_build(gpu: bool | None, bf16: bool | None, found: Stamp | None) -> str:
    """The build that is asked for; unasked, the one that is there. Raises CONFIGURATION for a GPU's with bf16."""
    if gpu:
        if bf16:
            raise SightlineError(ErrorKind.CONFIGURATION, "--bf16 is for a CPU; leave out --gpu or --bf16")
        return CUDA
    if gpu is None and bf16 is None and found and found.build in REQUIREMENTS:
        return found.build
    return BF16 if bf16 or (bf16 is None and cpu_has_bf16()) else CPU


def build(root: Path, wanted: Stamp, progress: Progress, *, nvidia: bool) -> None:
    """Makes a whole engine next to `root` and puts it in place by renaming."""
    partial = root.with_name(f"engine.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    # By a plain path: venv refuses one with a colon, and what pip makes of others is its own affair.
    plain = RuntimeFolder()
    try:
        place = plain.link("engine", partial)
        progress("engine: making its environment")
        venv.EnvBuilder(with_pip=False, symlinks=True).create(place / "venv")
        size = SIZES.get(wanted.build) or ("1.6 GB" if nvidia else "360 MB")
        progress(f"engine: fetching Triton and ONNX Runtime (about {size})")
        fetch_packages(place / "venv" / "bin" / "python", requirements(wanted.build, nvidia=nvidia))
        progress("engine: assembling the backends")
        made = Installation(partial, wanted.python_version, wanted.libpython_dir)
        assemble_backends(made, made.backends)
        write_stamp(partial, wanted)
        put_in_place(partial, root)
    finally:
        plain.close()
        shutil.rmtree(partial, ignore_errors=True)


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
    """Renames the finished folder to its name; the one that was there is removed after."""
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
    if not may_write(home):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(home))
    # Another user of the group may have made it; reading is enough to lock it.
    lock = os.open(home / "engine.lock", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
