"""The CPU time that counts against this server: that of its control group, else that of the whole machine.

Rule: the models run in other processes, so the time of this process alone would say little. In a container or a systemd
unit the control group (cgroup v2) is the server with its engine; elsewhere the machine is what it shares with others.
"""

import os
from dataclasses import dataclass
from pathlib import Path

CGROUPS, PROC = Path("/sys/fs/cgroup"), Path("/proc")
IDLE, IOWAIT, STEAL = 3, 4, 7
"""Positions in the line `cpu` of /proc/stat; after `steal` follow guest times, which `user` holds already."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds used so far, of `cores` that may be used."""

    source: Path
    cores: float

    def used_s(self) -> float:
        """CPU seconds since the source began to count; 0 where it cannot be read any more."""
        try:
            text = self.source.read_text()
        except OSError:
            return 0.0
        return of_machine(text) if self.source.name == "stat" else of_group(text)


def open_cpu_time(groups: Path = CGROUPS, proc: Path = PROC) -> CpuTime:
    """The control group of this process where it counts CPU time, else the machine."""
    group = group_of_process(groups, proc)
    if group is None:
        return CpuTime(proc / "stat", float(os.cpu_count() or 1))
    return CpuTime(group / "cpu.stat", min(float(len(os.sched_getaffinity(0))), quota(group)))


def group_of_process(groups: Path, proc: Path) -> Path | None:
    """The folder of this process's control group of version 2, if that counts CPU time."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
        path = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        group = groups / path
        of_group((group / "cpu.stat").read_text())
    except (OSError, StopIteration, ValueError):
        return None
    return group


def of_group(text: str) -> float:
    """Seconds in the text of `cpu.stat`. Raises `ValueError`."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec":
            return int(value) / 1e6
    raise ValueError("cpu.stat has no usage_usec")


def of_machine(text: str) -> float:
    """Seconds in the text of /proc/stat that a core was neither idle nor taken by the host."""
    ticks = [int(value) for value in text.splitlines()[0].split()[1:]]
    spent = sum(value for place, value in enumerate(ticks[: STEAL + 1]) if place not in (IDLE, IOWAIT, STEAL))
    return spent / os.sysconf("SC_CLK_TCK")


def quota(group: Path) -> float:
    """Cores that the group may use; infinite without a limit."""
    try:
        most, period = (group / "cpu.max").read_text().split()
        return float("inf") if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        return float("inf")
