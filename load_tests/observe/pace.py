"""The speed of the host itself during a run.

Rule: what is read of a fixed piece of work is its CPU time, not how long it took. A machine that we keep busy does not
lengthen it much; a host that gives less does (neighbours on the core's other thread and in its caches, a lower clock).
Next to a latency that grew it shows the cause.
"""

import math
import statistics
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

MINUTE = 60.0
WORK = np.random.default_rng(0).integers(0, 16, 200_000, np.uint8).tobytes()
"""Compressing it takes about 6 ms."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One sample: CPU milliseconds of the fixed work, and CPU seconds that the host has taken away since its start."""

    at: float
    work_ms: float
    stolen_s: float


def look_at_pace() -> Pace:
    """Does the fixed work once, in this thread."""
    began = time.thread_time()
    zlib.compress(WORK, 6)
    spent = time.thread_time() - began
    return Pace(time.monotonic(), spent * 1e3, float(getattr(psutil.cpu_times(), "steal", 0.0)))


def of_host(paces: Sequence[Pace]) -> dict[str, float]:
    """The host's last third compared with its first one; nothing of runs shorter than three minutes."""
    if not paces or paces[-1].at - paces[0].at < 3 * MINUTE:
        return {}
    first, last = (within(paces, *span) for span in first_and_last_third(paces[0].at, paces[-1].at))
    return {
        "host_work_last_over_first_third": round(work_ms(last) / work_ms(first), 3),
        "host_work_worst_over_best_minute": round(worst_over_best(paces), 3),
        "stolen_cores_first_third": stolen_cores(first),
        "stolen_cores_last_third": stolen_cores(last),
    }


def first_and_last_third(start: float, end: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of the first and of the last third of a run, after the minute in which it settles.

    A minute's p99 at 5 photos/s is that of its three slowest calls; a third of a quarter of an hour has 1,400 calls.
    """
    third = (end - start - MINUTE) / 3
    return (start + MINUTE, start + MINUTE + third), (end - third, end)


def by_minute(paces: Sequence[Pace]) -> list[dict[str, float]]:
    """Minute by minute: CPU milliseconds of the fixed work, and the cores that the host took away."""
    if not paces:
        return []
    begun, minutes = paces[0].at, math.ceil((paces[-1].at - paces[0].at) / MINUTE)
    each = [within(paces, begun + n * MINUTE, begun + (n + 1) * MINUTE) for n in range(minutes)]
    return [{"work_ms": round(work_ms(one), 2), "stolen_cores": stolen_cores(one)} for one in each if one]


def within(paces: Sequence[Pace], start: float, end: float) -> list[Pace]:
    """The samples of a span of time."""
    return [pace for pace in paces if start <= pace.at <= end]


def work_ms(paces: Sequence[Pace]) -> float:
    """The middle one of the samples."""
    return statistics.median(pace.work_ms for pace in paces)


def worst_over_best(paces: Sequence[Pace]) -> float:
    """The slowest minute over the fastest."""
    found = [minute["work_ms"] for minute in by_minute(paces)]
    return max(found) / min(found)


def stolen_cores(paces: Sequence[Pace]) -> float:
    """Cores that the host took away between the first sample and the last."""
    span = paces[-1].at - paces[0].at
    return round((paces[-1].stolen_s - paces[0].stolen_s) / span, 3) if span else 0.0
