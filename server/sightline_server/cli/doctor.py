"""`sightline doctor`: the findings about this machine, each with a hint where something is missing.

Rule: it inspects and changes nothing. FAIL keeps `sightline serve` from running and no `sightline` command repairs it;
WARN is repaired by a command or has a cost; the exit code is 1 only with a FAIL.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline_console.allocator import TUNABLE, VARIABLE, is_glibc
from sightline_console.terminal import echo, printable
from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.places import default_repository, missing_right
from sightline_models.store import State, inspect
from sightline_server.app.catalog_listener import check_catalog_server
from sightline_server.app.embedded import embedded_checks
from sightline_server.cli.access_check import access, consent, valkey
from sightline_server.cli.folders import folders
from sightline_server.cli.further_models import count_further, further_models
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.milvus_check import milvus_catalogs
from sightline_server.cli.surroundings import home_folder, port, proxies, shared_memory
from sightline_server.cli.weights_check import ranking_weights
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.rpc.listener.exposure import check_listener, check_metrics_listener
from sightline_server.settings import Settings
from sightline_server.triton.link import link_of
from sightline_server.triton.sharing import MODELS

app = typer.Typer(help="Check whether this machine has what the server needs.", add_completion=False)

FAISS = {"faiss-cpu": "cpu", "faiss-gpu": "gpu", "faiss-gpu-cuvs": "gpu-cuvs"}
"""FAISS distributions and the extra that brings each."""

CORES_A_WORKER = 4
"""Fewer cores for each worker leave too few to decoding, search and models."""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = None,
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
    """Every check, in the order in which a newcomer would fix them."""
    embedded = embedded_checks()
    if embedded:
        yield embedded.python()
        yield embedded.c_library()
    yield freed_memory()
    yield home_folder(settings)
    if embedded and settings.home is not None:
        yield embedded.disk(settings.home)
    yield shared_memory(settings, models=MODELS + count_further(settings))
    server = settings.server
    yield port("gRPC port", server.listen, partial(check_listener, server))
    if server.catalog_listen is not None:
        yield port("catalog port", server.catalog_listen, partial(check_catalog_server, server))
    yield port("metrics port", server.metrics_listen, partial(check_metrics_listener, server))
    yield from folders(settings)
    yield from milvus_catalogs(settings)
    yield from access(settings)
    yield from consent(settings)
    yield from valkey(settings)
    yield from proxies(os.environ)
    devices = gpus()
    yield gpu(devices)
    yield faiss(has_gpu=bool(devices))
    yield engine(settings)
    yield from precision(settings)
    yield from workers(settings, os.cpu_count() or 1)
    yield from models(settings)
    yield from further_models(settings)
    yield from ranking_weights(settings)


def freed_memory() -> Check:
    """The finding about freed memory: it should be overwritten by the server's C library."""
    if not is_glibc():
        return Check(
            "freed memory",
            Verdict.WARN,
            "not overwritten",
            "pieces of photos may stay in the server; docs/operate/privacy.md",
        )
    if TUNABLE in os.environ.get(VARIABLE, ""):
        return Check("freed memory", Verdict.OK, f"overwritten; the size of glibc's cache is left to {VARIABLE}")
    return Check("freed memory", Verdict.OK, "overwritten")


def gpus(run: Callable[..., "subprocess.CompletedProcess[str]"] = subprocess.run) -> list[str]:
    """The machine's NVIDIA GPUs, one line each; empty without a driver that answers."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def gpu(devices: list[str]) -> Check:
    """The finding about GPUs, on which the models could run."""
    if not devices:
        return Check("GPU", Verdict.OK, "none; everything runs on the CPU")
    hint = "the embedded engine uses it after `sightline engine install --gpu`; Triton's container with --triton-url"
    return Check("GPU", Verdict.OK, "; ".join(devices), hint)


def faiss(*, has_gpu: bool, version_of: Callable[[str], str] = version) -> Check:
    """The finding about FAISS, which the index uses; never two of them, because they share one import name."""
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
        return Check(
            "FAISS", Verdict.FAIL, found, f"keep one: pip uninstall {' '.join(installed)}, then install one extra"
        )
    if has_gpu and "faiss-cpu" in installed:
        return Check("FAISS", Verdict.WARN, found, 'the GPU is not used for search: pip install "sightline[gpu]"')
    return Check("FAISS", Verdict.OK, found)


def engine(settings: Settings) -> Check:
    """The finding about the model server."""
    try:
        if link := link_of(settings.engine):
            link.check()
            return Check("engine", Verdict.OK, f"a running Triton at {link.address}, {link.protection}")
    except SightlineError as error:
        return Check("engine", Verdict.FAIL, error.message)
    embedded = embedded_checks()
    if embedded is None:
        found = "this installation has no embedded engine"
        return Check("engine", Verdict.FAIL, found, "start Sightline with --triton-url HOST:PORT")
    try:
        root = embedded.installed(settings.home_folder)
    except SightlineError as error:
        return Check("engine", Verdict.WARN, error.message.split(". ")[0], "sightline engine install")
    return Check("engine", Verdict.OK, f"embedded Triton in {root}")


def precision(settings: Settings) -> Iterator[Check]:
    """The finding about bf16; none for a remote engine, one on a GPU, and one that is not installed."""
    embedded = embedded_checks()
    if embedded is None or settings.engine.triton_url is not None or settings.engine.device == "gpu":
        return
    with suppress(SightlineError, NoHomeError):
        repository = settings.engine.repository or default_repository(settings.home)
        yield embedded.precision(settings.home_folder, repository, settings.engine.precision)


def workers(settings: Settings, cores: int) -> Iterator[Check]:
    """The finding about several workers on this machine; none for one worker."""
    count = settings.server.workers
    if count > 1:
        found = f"{count} on {cores} cores"
        few = count * CORES_A_WORKER > cores
        hint = (
            "they compete with the models for the cores; docs/operate/workers.md says when they pay off" if few else ""
        )
        yield Check("workers", Verdict.WARN if few else Verdict.OK, found, hint)


def models(settings: Settings) -> Iterator[Check]:
    """The findings about the model files; none for a remote engine, which has its own."""
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
    """The findings as a human-readable table."""
    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "what", "found", "hint"):
        made.add_column(column, overflow="fold")
    for check in checks:
        verdict = f"[{colours[check.verdict]}]{check.verdict.value}[/]"
        made.add_row(verdict, check.name, Text(printable(check.found)), Text(printable(check.hint)))
    return made
