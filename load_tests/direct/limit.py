"""The rate of this machine without any server: `python -m load_tests.direct.limit --catalog DIR`.

Sweeps photos per batch x threads per model call x processes over `DirectPath`, prints the grid, reads the best cells
again in turn, and takes the best of them.
Rule: the processes start together and are counted over the same stretch of time, on the photos of the served run.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from load_tests.direct.path import DirectPath
from load_tests.generator.photos import ROOT, SHOWROOM, Photos, read_photos
from load_tests.generator.playing import end_with_parent
from sightline_models.places import default_home
from sightline_server.errors import SightlineError

BATCHES = (1, 2, 4, 8)
FINALISTS, FINAL_TURNS = 3, 3


@dataclass(frozen=True, slots=True)
class Cell:
    """One way to use the machine: `batch` photos a call, `threads` a model call, `processes` at once."""

    batch: int
    threads: int
    processes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of a cell. `cpu_ms` is CPU time of all processes per photo."""

    photos_per_s: float
    objects_per_photo: float
    cpu_ms: float


class LimitError(RuntimeError):
    """A process that measures the limit could not start, or ended; the message says why."""


class Workers:
    """`processes` processes with a `DirectPath` each; idle between readings."""

    def __init__(self, repository: Path, catalog: Path, photos: Photos, *, threads: int, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.threads, self.processes = threads, processes
        self._pipes: list[Connection] = []
        self._children = []
        for place in range(processes):
            ours, theirs = context.Pipe()
            # Each begins at another photo, so that the processes do not do the same work in step.
            first = place * len(photos.encoded) // processes
            turned = photos.encoded[first:] + photos.encoded[:first]
            child = context.Process(target=work, args=(theirs, repository, catalog, turned, threads), daemon=True)
            child.start()
            # Only the process itself holds this end now, so that its end is seen here.
            theirs.close()
            self._pipes.append(ours)
            self._children.append(child)
        try:
            for pipe in self._pipes:
                answer(pipe)
        except BaseException:
            self.close()
            raise

    def read(self, batch: int, seconds: float) -> Reading:
        """Photos a second of all processes together over `seconds`."""
        start = time.monotonic() + 0.05
        for pipe in self._pipes:
            pipe.send((batch, start, seconds))
        parts = [answer(pipe) for pipe in self._pipes]
        rate = sum(part["photos"] / part["seconds"] for part in parts)
        photos = sum(part["photos"] for part in parts)
        objects = sum(part["objects"] for part in parts)
        return Reading(rate, objects / photos, sum(part["cpu_s"] for part in parts) / photos * 1e3)

    def close(self) -> None:
        """Ends the processes."""
        for pipe, child in zip(self._pipes, self._children, strict=True):
            with suppress(OSError):
                pipe.send(None)
            child.join(10.0)
            child.kill()


def answer(pipe: Connection) -> dict[str, Any]:
    """The next answer of a process. Raises `LimitError` when there is none."""
    if not pipe.poll(120.0):
        raise LimitError("a process that measures the limit did not answer within 120 s")
    try:
        given: dict[str, Any] | str = pipe.recv()
    except EOFError:
        raise LimitError("a process that measures the limit ended; what it printed is above") from None
    if isinstance(given, str):
        raise LimitError(given)
    return given


@contextmanager
def workers(repository: Path, catalog: Path, photos: Photos, *, threads: int, processes: int) -> Iterator[Workers]:
    """`Workers` for the length of the block."""
    made = Workers(repository, catalog, photos, threads=threads, processes=processes)
    try:
        yield made
    finally:
        made.close()


def work(pipe: Connection, repository: Path, catalog: Path, photos: Sequence[bytes], threads: int) -> None:
    """One process: measures what comes through the pipe until None comes."""
    Thread(target=end_with_parent, name="parent", daemon=True).start()
    try:
        path = DirectPath(repository, catalog, threads=threads)
    except SightlineError as error:
        pipe.send(error.message)
        return
    path.run(photos[:1])
    pipe.send({})
    place = 0
    while (task := pipe.recv()) is not None:
        batch, start, seconds = task
        time.sleep(max(0.0, start - time.monotonic()))
        begun, cpu, done, objects = time.monotonic(), time.process_time(), 0, 0
        while (spent := time.monotonic() - begun) < seconds:
            chosen = [photos[(place + offset) % len(photos)] for offset in range(batch)]
            objects += sum(len(found) for found in path.run(chosen))
            place, done = place + batch, done + batch
        spent = time.monotonic() - begun
        pipe.send({"photos": done, "objects": objects, "seconds": spent, "cpu_s": time.process_time() - cpu})
    path.close()


def shapes() -> list[tuple[int, int]]:
    """(threads, processes) worth trying on this machine's cores."""
    cores = os.cpu_count() or 1
    counts = sorted({1, 2, max(1, cores // 2), cores} & set(range(1, cores + 1)))
    return [(threads, processes) for processes in counts for threads in counts if threads * processes <= 2 * cores]


def sweep(
    repository: Path, catalog: Path, photos: Photos, *, seconds: float, batches: Sequence[int] = BATCHES
) -> dict[Cell, Reading]:
    """Every cell's reading."""
    grid: dict[Cell, Reading] = {}
    for threads, processes in shapes():
        with workers(repository, catalog, photos, threads=threads, processes=processes) as pool:
            for batch in batches:
                grid[Cell(batch, threads, processes)] = pool.read(batch, seconds)
    return grid


def decide(
    repository: Path, catalog: Path, photos: Photos, grid: dict[Cell, Reading], *, seconds: float
) -> tuple[Cell, Reading]:
    """The best cell and its median reading.

    The first few of the grid are read again, in turn: one short reading may have met a busy moment of the host.
    """
    first = sorted(grid, key=lambda cell: grid[cell].photos_per_s, reverse=True)[:FINALISTS]
    readings: dict[Cell, list[Reading]] = {cell: [] for cell in first}
    with ExitStack() as stack:
        shapes_of_them = {(cell.threads, cell.processes) for cell in first}
        pools = {
            (threads, processes): stack.enter_context(
                workers(repository, catalog, photos, threads=threads, processes=processes)
            )
            for threads, processes in shapes_of_them
        }
        for _ in range(FINAL_TURNS):
            for cell in first:
                readings[cell].append(pools[cell.threads, cell.processes].read(cell.batch, seconds))
    medians = {cell: median(every) for cell, every in readings.items()}
    best = max(first, key=lambda cell: medians[cell].photos_per_s)
    return best, medians[best]


def median(readings: Sequence[Reading]) -> Reading:
    """The reading in the middle, of an odd number of them."""
    return sorted(readings, key=lambda reading: reading.photos_per_s)[len(readings) // 2]


def table(grid: dict[Cell, Reading]) -> str:
    """The grid as text: a row for threads x processes, a column for each batch."""
    batches = sorted({cell.batch for cell in grid})
    lines = ["threads x processes  " + "".join(f"batch {batch:<8}" for batch in batches)]
    for threads, processes in dict.fromkeys((cell.threads, cell.processes) for cell in grid):
        rates = "".join(f"{grid[Cell(batch, threads, processes)].photos_per_s:<14.2f}" for batch in batches)
        lines.append(f"{threads:>7} x {processes:<11}  {rates}")
    return "\n".join(lines)


def runtimes(home: Path) -> dict[str, str]:
    """The versions of ONNX Runtime here and in the engine's environment; read from the packages, nothing is loaded."""
    found = {"here": runtime_version(sys.path)}
    for packages in (home / "engine" / "venv").glob("lib/python3*/site-packages"):
        found["engine"] = runtime_version([str(packages)])
    return found


def runtime_version(path: list[str]) -> str:
    """The version of the ONNX Runtime that is installed on `path`; empty when there is none."""
    found = {one.metadata["name"].lower(): one.version for one in distributions(path=path)}
    return found.get("onnxruntime") or found.get("onnxruntime-gpu") or ""


def main() -> int:
    """Prints the grid on standard error and one JSON object on the last line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each reading")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    try:
        grid = sweep(arguments.repository, arguments.catalog, photos, seconds=arguments.seconds)
        print(table(grid), file=sys.stderr)
        cell, reading = decide(arguments.repository, arguments.catalog, photos, grid, seconds=arguments.seconds)
    except LimitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    home = default_home()
    report = {
        "limit_photos_per_s": round(reading.photos_per_s, 3),
        "batch": cell.batch,
        "threads": cell.threads,
        "processes": cell.processes,
        "objects_per_photo": round(reading.objects_per_photo, 3),
        "cpu_ms_per_photo": round(reading.cpu_ms, 1),
        "photos_sha256": photos.digest,
        "onnxruntime": runtimes(home),
    }
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
