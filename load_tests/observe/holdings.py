"""The resources of the processes of a run: memory, descriptors, threads, CPU and shared memory.

Rule: reads `/proc` through psutil and touches nothing. Only a server on this machine can be observed.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from threading import Event, Thread
from typing import Any

import psutil

SHARED_MEMORY = "/dev/shm/"
STUB = "triton_python_backend_stub"
MEGABYTE = 1 << 20
SHORTEST_FOR_A_SLOPE_S = 120.0


@dataclass(frozen=True, slots=True)
class Holding:
    """One process at one instant."""

    rss: int
    descriptors: int
    threads: int
    cpu_s: float
    thread_names: Mapping[str, int] = field(default_factory=dict)
    """The number of threads by name: libraries name theirs, Python's bear the program's."""


@dataclass(frozen=True, slots=True)
class Look:
    """All processes by role, and the bytes of `/dev/shm` that they map, at one instant of the monotonic clock."""

    at: float
    held: Mapping[str, Holding]
    shm_bytes: int


def look(server: int, generator: int) -> Look:
    """Samples the server, its engine's processes and the generator, by their process ids."""
    held: dict[str, Holding] = {}
    parent = psutil.Process(server)
    family = [parent, *parent.children(recursive=True), psutil.Process(generator)]
    for process in family:
        try:
            role = role_of(process, server, generator)
            holding = hold(process)
        except psutil.Error:
            # It ended while it was sampled.
            continue
        name, place = role, 2
        while name in held:
            name, place = f"{role} {place}", place + 1
        held[name] = holding
    return Look(time.monotonic(), held, mapped_shared_bytes(family))


def mapped_shared_bytes(processes: Sequence[psutil.Process]) -> int:
    """Bytes of `/dev/shm` that the processes map, each file once; files that have no name any more included."""
    sizes: dict[str, int] = {}
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if SHARED_MEMORY in line:
                extent, _, offset, _, inode, *_ = line.split()
                low, high = (int(place, 16) for place in extent.split("-"))
                sizes[inode] = max(sizes.get(inode, 0), int(offset, 16) + high - low)
    return sum(sizes.values())


def role_of(process: psutil.Process, server: int, generator: int) -> str:
    """The role of a process."""
    if process.pid == server:
        return "server"
    if process.pid == generator:
        return "generator"
    words = process.cmdline()
    if words and words[0].endswith(STUB):
        return f"stub {Path(words[1]).parts[-3]}"
    return "tritonserver" if words and words[0].endswith("tritonserver") else "reaper"


def hold(process: psutil.Process) -> Holding:
    """The resources of a process now."""
    with process.oneshot():
        times = process.cpu_times()
        used, names = times.user + times.system, thread_names(process.pid)
        return Holding(process.memory_info().rss, process.num_fds(), process.num_threads(), used, names)


def thread_names(pid: int) -> Counter[str]:
    """The number of threads of a process by name."""
    names: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            names[(task / "comm").read_text().strip()] += 1
    return names


class Watch:
    """Samples every `every_s` seconds in a separate thread, as a context manager; `looks` are the samples."""

    def __init__(self, server: int, generator: int, every_s: float) -> None:
        self._ids = (server, generator)
        self._every_s = every_s
        self._over = Event()
        self._thread = Thread(target=self._run, name="processes", daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.looks.append(look(*self._ids))
            if self._over.wait(self._every_s):
                return


def growth(before: Look, after: Look) -> dict[str, dict[str, Any]]:
    """Per process what it holds more after than before: RSS in MB, descriptors, threads, and whose these are."""
    return {
        role: {
            "rss_mb": round((now.rss - before.held[role].rss) / MEGABYTE, 2),
            "descriptors": now.descriptors - before.held[role].descriptors,
            "threads": now.threads - before.held[role].threads,
            "threads_by_name": changes(before.held[role].thread_names, now.thread_names),
        }
        for role, now in after.held.items()
        if role in before.held
    }


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The differences of two counts, by name."""
    names = before.keys() | after.keys()
    grown = {name: after.get(name, 0) - before.get(name, 0) for name in sorted(names)}
    return {name: count for name, count in grown.items() if count}


def rss_slopes(looks: Sequence[Look], skip: float, window_s: float = 0.0) -> dict[str, float]:
    """MB a minute by which each process's RSS grows after the first `skip` of the time (least squares).

    With `window_s` it is the least RSS of each so many seconds that counts: work that comes round, such as merges,
    takes memory and gives it back, and a line through such teeth follows where the samples fell. Nothing for less than
    two minutes, in which a process still finds its size.
    """
    if len(looks) < 3 or looks[-1].at - looks[0].at < SHORTEST_FOR_A_SLOPE_S:
        return {}
    start = looks[0].at + skip * (looks[-1].at - looks[0].at)
    late = [seen for seen in looks if seen.at >= start]
    slopes = {}
    for role in late[-1].held:
        points = least([(seen.at, seen.held[role].rss) for seen in late if role in seen.held], window_s)
        if len(points) >= 3:
            slope = linear_regression(*zip(*points, strict=True)).slope
            slopes[role] = round(60 * slope / MEGABYTE, 3)
    return slopes


def least(points: Sequence[tuple[float, int]], window_s: float) -> list[tuple[float, int]]:
    """The point with the least value of each whole `window_s` seconds; all points where that is 0."""
    if not window_s:
        return list(points)
    windows: dict[int, list[tuple[float, int]]] = {}
    for at, value in points:
        windows.setdefault(int((at - points[0][0]) // window_s), []).append((at, value))
    whole = int((points[-1][0] - points[0][0]) // window_s) if points else 0
    return [min(windows[number], key=lambda point: point[1]) for number in range(whole) if number in windows]
