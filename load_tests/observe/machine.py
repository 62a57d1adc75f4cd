"""The load of the machine during a run: CPU that went to others, and CPU that its host took away.

Rule: a benchmark reports this with its figures, so that a reading taken on a busy machine is seen to be one.
"""

import os
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU seconds of the whole machine and of one tree of processes since their starts, at one instant."""

    at: float
    busy_s: float
    stolen_s: float
    own_s: float


def read_cpu(*pids: int) -> CpuReading:
    """Reads the machine, and the processes `pids` with all below them."""
    times = psutil.cpu_times()
    stolen = float(getattr(times, "steal", 0.0))
    busy = sum(times[:3]) + sum(getattr(times, name, 0.0) for name in ("irq", "softirq"))
    return CpuReading(time.monotonic(), busy, stolen, sum(tree_cpu_s(pid) for pid in pids))


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    total = 0.0
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def quiet(before: CpuReading, after: CpuReading) -> dict[str, float]:
    """Cores in use between two readings: by ourselves, by others, and taken by the host."""
    span = after.at - before.at
    own = (after.own_s - before.own_s) / span
    return {
        "own_cores": round(own, 2),
        "other_cores": round(max(0.0, (after.busy_s - before.busy_s) / span - own), 2),
        "stolen_cores": round((after.stolen_s - before.stolen_s) / span, 2),
        "cores": float(os.cpu_count() or 1),
    }
