"""The processes below a server, and the leftovers of a server that is gone. Linux.

Rule: processes are found by their parent and told apart by their command line; nothing is ended here.
"""

import os
import re
from pathlib import Path

import psutil

ROLES = ("tritonserver", "detector", "embedder", "other")
MODEL = re.compile(r"/(detector|embedder(?:-[^/]+)?)/")
"""The folder of a model in a path; further embedders have separate roles."""
SHARED_MEMORY = Path("/dev/shm")


def below(pid: int) -> dict[str, list[psutil.Process]]:
    """Every process below `pid` by its role: the engine, the stub of each model, and others."""
    found: dict[str, list[psutil.Process]] = {role: [] for role in ROLES}
    for child in psutil.Process(pid).children(recursive=True):
        try:
            found.setdefault(role_of(child.cmdline()), []).append(child)
        except psutil.Error:
            continue
    return found


def role_of(command: list[str]) -> str:
    """The role of the process of this command line in the engine."""
    name = Path(command[0]).name if command else ""
    if name == "tritonserver":
        return name
    if "triton_python_backend_stub" in name:
        matches = [match for part in command if (match := MODEL.search(part))]
        return matches[0][1] if matches else "other"
    return "other"


def own_cpu_s(pid: int) -> float:
    """CPU seconds of a server and of what is below it, without its engine."""
    total = 0.0
    for process in (psutil.Process(pid), *below(pid)["other"]):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def shared_files(pid: int) -> list[str]:
    """Names in `/dev/shm` that belong to the server `pid`."""
    return [name for name in os.listdir(SHARED_MEMORY) if name.startswith(f"sightline-{pid}-")]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that only waits to be reaped does not."""
    return [process for process in processes if runs(process)]


def runs(process: psutil.Process) -> bool:
    """Returns whether the process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
