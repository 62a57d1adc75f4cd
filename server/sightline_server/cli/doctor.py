"""`sightline doctor`: what fits on this machine and what is missing, with a hint for each.

Rule: it looks and changes nothing. FAIL is what keeps `sightline serve` from running and no command of ours can mend;
WARN is what a command mends or what costs something; the exit code is 1 only with a FAIL.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline_client.terminal import echo, printable
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.places import default_repository, missing_right
from sightline_models.store import State, inspect
from sightline_server.cli.loading import load
from sightline_server.domain.address import Address
from sightline_server.errors import SightlineError
from sightline_server.rpc.listening import obstacle
from sightline_server.settings import Settings
from sightline_server.triton import sharing
from sightline_server.triton.fitness import ELSEWHERE, MINIMUM_GLIBC, NEEDED_BYTES, PYTHONS, glibc_version, unfit_python
from sightline_server.triton.installation import installation_of
from sightline_server.triton.sharing import AMPLE, LEAST, MIB

app = typer.Typer(help="Check whether this machine has what the server needs.", add_completion=False)

FAISS = {"faiss-cpu": "cpu", "faiss-gpu": "gpu", "faiss-gpu-cuvs": "gpu-cuvs"}
"""FAISS distributions and the extra that brings each."""

PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""The variables that gRPC reads, in lower case only."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (the kernel's, not a temporary file of ours)
CORES_A_WORKER = 4
"""Fewer cores for each worker leave too few to decoding, search and models."""


class Verdict(Enum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `hint` says what to do where something is to be done."""

    name: str
    verdict: Verdict
    found: str
    hint: str = ""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
) -> None:
    """Check whether this machine has what the server needs, and say what to do about the rest."""
    try:
        settings = load(config)
    except SightlineError as error:
        echo(f"sightline: {error.message}", err=True)
        raise typer.Exit(2) from None
    checks = list(examine(settings))
    if as_json:
        echo(json.dumps({"checks": [{**asdict(check), "verdict": check.verdict.value} for check in checks]}))
    else:
        Console().print(table(checks))
    if any(check.verdict is Verdict.FAIL for check in checks):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Check]:
    """Every check, in the order in which a newcomer would mend them."""
    yield python()
    yield c_library()
    yield home_folder(settings)
    if settings.home is not None:
        yield disk(settings.home)
    yield shared_memory(settings)
    yield port("gRPC port", settings.server.listen)
    yield port("metrics port", settings.server.metrics_listen)
    yield from proxies(os.environ)
    devices = gpus()
    yield gpu(devices)
    yield faiss(has_gpu=bool(devices))
    yield engine(settings)
    yield from workers(settings, os.cpu_count() or 1)
    yield from models(settings)


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


def home_folder(settings: Settings) -> Check:
    """The folder for engine, models and catalogs."""
    if settings.home is not None:
        return Check("home", Verdict.OK, str(settings.home))
    verdict = Verdict.FAIL if settings.engine.triton_url is None else Verdict.OK
    return Check("home", verdict, "this user has none", "set SIGHTLINE_HOME to a folder for engine and models")


def disk(home: Path) -> Check:
    """Room for engine, models and catalogs."""
    place = next(folder for folder in (home, *home.parents) if os.access(folder, os.F_OK))
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.1f} GB free in {home}"
    if free >= 2 * NEEDED_BYTES or os.path.isdir(home / "engine"):
        return Check("disk", Verdict.OK, found)
    verdict = Verdict.WARN if free >= NEEDED_BYTES else Verdict.FAIL
    return Check(
        "disk", verdict, found, f"set-up takes {NEEDED_BYTES / 1e9:.1f} GB; SIGHTLINE_HOME names another place"
    )


def shared_memory(settings: Settings, folder: Path = SHARED_MEMORY) -> Check:
    """The shared memory through which engine and server pass tensors; only the embedded engine cannot do without."""
    short = Verdict.FAIL if settings.engine.triton_url is None else Verdict.WARN
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return Check("shared memory", short, f"no writable {folder}", "mount a tmpfs there")
    room = sharing.room(folder)
    found = f"{room.free // MIB} of {room.total // MIB} MiB free in {folder}"
    if room.free >= AMPLE:
        return Check("shared memory", Verdict.OK, found)
    hint = f"{AMPLE // MIB} MiB are good, {LEAST // MIB} the least; in a container: --shm-size=256m"
    return Check("shared memory", Verdict.WARN if room.free >= LEAST else short, found, hint)


def port(name: str, address: Address) -> Check:
    """Whether the server could listen at `address`."""
    if reason := obstacle(address):
        option = "--metrics-listen HOST:PORT" if "metrics" in name else "--listen HOST:PORT"
        return Check(name, Verdict.WARN, f"{address}: {reason}", f"choose another with {option}")
    return Check(name, Verdict.OK, f"{address} is free")


def proxies(environment: Mapping[str, str]) -> Iterator[Check]:
    """The proxies that the environment names and what goes through them; nothing where there are none."""
    named = [name for name in environment if name.lower() in PROXIES and environment[name]]
    if not named:
        return
    found = ", ".join(f"{name}={without_credentials(environment[name])}" for name in sorted(named))
    exempt = next((environment[name] for name in ("no_proxy", "NO_PROXY") if environment.get(name)), "")
    used = "for image downloads and pip"
    if any(name in GRPC_PROXIES for name in named):
        used += ", and for Triton, servers and collectors on other hosts"
    hint = f"{used}{f', but not for {exempt}' if exempt else ''}; never for this machine"
    yield Check("proxies", Verdict.OK, found, hint)


def without_credentials(url: str) -> str:
    """A proxy's URL as it may be shown: without user, password and path."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.partition('/')[0].rpartition('@')[2]}"


def gpus(run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run) -> list[str]:
    """The machine's NVIDIA GPUs, one line each; empty without a driver that answers."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def gpu(devices: list[str]) -> Check:
    """What the models could run on."""
    if not devices:
        return Check("GPU", Verdict.OK, "none; everything runs on the CPU")
    hint = "the embedded engine uses it after `sightline engine install --gpu`; Triton's container with --triton-url"
    return Check("GPU", Verdict.OK, "; ".join(devices), hint)


def faiss(*, has_gpu: bool, version_of: Callable[[str], str] = version) -> Check:
    """Which FAISS the index uses; never two, because they share one import name."""
    installed = {}
    for name in FAISS:
        try:
            installed[name] = version_of(name)
        except PackageNotFoundError:
            continue
    found = ", ".join(f"{name} {number}" for name, number in installed.items())
    if not installed:
        return Check("FAISS", Verdict.FAIL, "none", 'pip install "sightline[cpu]"')
    if len(installed) > 1:
        return Check("FAISS", Verdict.FAIL, found, f"keep one: pip uninstall {' '.join(installed)}, then one extra")
    if has_gpu and "faiss-cpu" in installed:
        return Check("FAISS", Verdict.WARN, found, 'the GPU is not used for search: pip install "sightline[gpu]"')
    return Check("FAISS", Verdict.OK, found)


def engine(settings: Settings) -> Check:
    """The model server."""
    if settings.engine.triton_url is not None:
        return Check("engine", Verdict.OK, f"a running Triton at {settings.engine.triton_url}")
    try:
        installed = installation_of(settings.home_folder)
    except SightlineError as error:
        return Check("engine", Verdict.WARN, error.message.split(". ")[0], "sightline engine install")
    return Check("engine", Verdict.OK, f"embedded Triton in {installed.root}")


def workers(settings: Settings, cores: int) -> Iterator[Check]:
    """Whether several processes make sense here; nothing for one."""
    count = settings.server.workers
    if count > 1:
        found = f"{count} on {cores} cores"
        few = count * CORES_A_WORKER > cores
        hint = "they take from the models what they need; docs/workers.md says when they pay" if few else ""
        yield Check("workers", Verdict.WARN if few else Verdict.OK, found, hint)


def models(settings: Settings) -> Iterator[Check]:
    """The model files; those of a remote engine are its own affair."""
    if settings.engine.triton_url is not None:
        return
    for model in DEFAULT_MODELS:
        try:
            repository = settings.engine.repository or default_repository(settings.home)
            stored = inspect(repository, model)
            stored.require()
        except NoHomeError:
            yield Check(model.folder, Verdict.WARN, "missing", "sightline models pull")
            continue
        except PermissionError as error:
            yield Check(model.folder, Verdict.FAIL, missing_right(error))
            continue
        except ModelError as error:
            missing = not os.path.isfile(repository / model.folder / "1" / "model.onnx")
            verdict = Verdict.WARN if missing else Verdict.FAIL
            yield Check(model.folder, verdict, "missing" if missing else str(error), "sightline models pull")
            continue
        kind = "" if stored.state is State.READY else " (custom)"
        yield Check(model.folder, Verdict.OK, f"{stored.name}{kind} in {stored.path}")


def table(checks: list[Check]) -> Table:
    """The findings for people."""
    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "what", "found", "hint"):
        made.add_column(column, overflow="fold")
    for check in checks:
        verdict = f"[{colours[check.verdict]}]{check.verdict.value}[/]"
        made.add_row(verdict, check.name, Text(printable(check.found)), Text(printable(check.hint)))
    return made
