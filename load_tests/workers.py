"""One process or several: `python -m load_tests.workers --catalog DIR [--workers 1,2,4]`.

Serves the same photos with each number of workers in turn, several times, in a closed loop over many connections, and
prints one JSON object on the last line: medians of photos a second, of the embedder's batch, and of the memory of the
serving processes, by number of workers.
Rule: the numbers take turns, each with its own server, so that a machine that grows busier harms all of them.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from load_tests.bench import DEADLINE_S, RAMP_S, completed_per_s
from load_tests.generator.photos import SHOWROOM, Photos, read_photos
from load_tests.generator.process import Generator
from load_tests.observe.machine import quiet, read_cpu
from load_tests.observe.scrapes import Between, scrape
from sightline_client.local_server import LocalServer

CONNECTIONS = 32
"""Many, because the kernel spreads connections over the workers by chance."""
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of one server: `memory_mb` is the proportional share of all its processes but the engine's.

    `other_cores` is what others used of the machine meanwhile.
    """

    photos_per_s: float
    mean_embed_batch: float
    memory_mb: float
    other_cores: float
    codes: dict[str, int]


def main() -> int:
    """Measures and prints; returns 1 when a call ended in anything but an answer or a refusal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers, in the order of a turn")
    parser.add_argument("--turns", type=int, default=3, help="servers of each number")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds measured of each")
    parser.add_argument("--callers", type=int, default=0, help="calls under way; 0: three for each core")
    arguments = parser.parse_args()
    numbers = [int(number) for number in arguments.workers.split(",")]
    photos = read_photos(arguments.photos)
    callers = arguments.callers or 3 * (os.cpu_count() or 1)
    readings: dict[int, list[Reading]] = {number: [] for number in numbers}
    for turn in range(1, arguments.turns + 1):
        for number in numbers:
            readings[number].append(read(arguments.catalog, photos, number, callers, arguments.seconds))
            say(f"turn {turn}, {number} workers: {readings[number][-1]}")
    facts = {
        "callers": callers,
        "connections": CONNECTIONS,
        "cores": os.cpu_count(),
        "photos_sha256": photos.digest,
        "other_cores": max(reading.other_cores for every in readings.values() for reading in every),
    }
    print(json.dumps(report(readings) | facts))
    ended = {code for every in readings.values() for reading in every for code in reading.codes}
    return 0 if ended <= {"OK", "RESOURCE_EXHAUSTED"} else 1


def read(catalog: Path, photos: Photos, workers: int, callers: int, seconds: float) -> Reading:
    """One server with `workers`, warmed up and then kept busy."""
    with (
        LocalServer(catalog=catalog, extra_args=["--workers", str(workers)]) as server,
        Generator(server.target, photos.requests, connections=CONNECTIONS, deadline_s=DEADLINE_S) as generator,
    ):
        generator.closed_loop(callers=callers, seconds=WARM_UP_S)
        start, cpu = scrape(server.metrics_url), read_cpu(os.getpid())
        run = generator.closed_loop(callers=callers, seconds=seconds)
        span = Between(start, scrape(server.metrics_url))
        return Reading(
            photos_per_s=round(completed_per_s(run, RAMP_S, seconds), 3),
            mean_embed_batch=span.mean_batch("crops"),
            memory_mb=round(serving_memory(server.pid) / 1e6, 1),
            other_cores=quiet(cpu, read_cpu(os.getpid()))["other_cores"],
            codes=run.codes,
        )


def serving_memory(pid: int) -> int:
    """Bytes of the server's process and its workers; what they share counts once among those who share it."""
    server = psutil.Process(pid)
    workers = [child for child in server.children() if "sightline_server.workers.worker" in child.cmdline()]
    return sum(process.memory_full_info().pss for process in (server, *workers))


def report(readings: dict[int, list[Reading]]) -> dict[str, Any]:
    """Medians by number of workers, and every reading of the rate."""
    return {
        "photos_per_s": {str(number): median(r.photos_per_s for r in every) for number, every in readings.items()},
        "mean_embed_batch": {
            str(number): median(r.mean_embed_batch for r in every) for number, every in readings.items()
        },
        "memory_mb": {str(number): median(r.memory_mb for r in every) for number, every in readings.items()},
        "photos_per_s_readings": {
            str(number): [reading.photos_per_s for reading in every] for number, every in readings.items()
        },
    }


def median(values: Iterable[float]) -> float:
    """Rounded to three decimals."""
    return round(statistics.median(values), 3)


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
