"""The hot path under load: `make bench`. Prints progress on standard error and one JSON object on its last line.

Against its own server: the rate of the machine without a server and that of the server, in turn; calls one
after the other; constant and Poisson arrivals at 70 % of what was served; three times of it.
Rule: a figure that the generator was too late for is marked, and the exit code says so.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from load_tests.direct import limit
from load_tests.generator import arrivals
from load_tests.generator.photos import ROOT, SHOWROOM, Photos, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import Run, milliseconds
from load_tests.observe.machine import quiet, read_cpu
from load_tests.observe.scrapes import Between, Scrape, scrape
from load_tests.report.queueing import time_in_system
from sightline_client.local_server import LocalServer, LocalServerError

DEADLINE_S = 2.0
RAMP_S = 1.0
LOAD = 0.7
OVERLOAD = 3.0
QUICK_BATCHES = (1, 4)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds of each part, and how often limit and served run alternate."""

    sweep: float = 1.5
    limit: float = 5.0
    limit_between: float = 3.0
    served: float = 8.0
    unloaded: float = 8.0
    steady: float = 25.0
    overload: float = 20.0
    turns: int = 5


QUICK = Lengths(sweep=1.0, limit=2.0, limit_between=1.0, served=4.0, unloaded=3.0, steady=8.0, overload=8.0, turns=2)


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="the models, for the limit")
    parser.add_argument("--callers", type=int, default=0, help="calls under way at saturation; 0: three for each core")
    parser.add_argument(
        "--quick", action="store_true", help="a minute instead of four; for a first impression, not for the record"
    )
    parser.add_argument("--out", type=Path, help="also write the object, with details, to this file")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    callers = arguments.callers or 3 * (os.cpu_count() or 1)
    bench = Bench(arguments.catalog, arguments.repository, photos, callers, QUICK if arguments.quick else Lengths())
    try:
        report = bench.run()
    except (limit.LimitError, LocalServerError) as error:
        say(f"error: {error}")
        return 2
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({**report, "details": bench.details}, indent=2) + "\n")
    say(json.dumps(bench.details))
    print(json.dumps(report))
    return 0 if bench.sound else 1


class Bench:
    """One benchmark: its parts in order, and their findings in addition to the report."""

    def __init__(self, catalog: Path, repository: Path, photos: Photos, callers: int, lengths: Lengths) -> None:
        self._catalog, self._repository, self._photos = catalog, repository, photos
        self._callers, self._lengths = callers, lengths
        self.details: dict[str, Any] = {"photos_sha256": photos.digest, "photos": len(photos.names), "callers": callers}
        self._stolen: dict[str, float] = {}
        self.details["stolen_cores"] = self._stolen
        self._limits_between: dict[str, float] = {}
        self.details["limit_between_parts"] = self._limits_between
        self.sound = True
        """True if every run was sent on time and every call was answered."""

    def run(self) -> dict[str, Any]:
        """All parts; the report."""
        begun = time.monotonic()
        say(f"{len(self._photos.names)} photos {self._photos.digest}; sweeping the limit")
        grid = limit.sweep(
            self._repository, self._catalog, self._photos, seconds=self._lengths.sweep, batches=QUICK_BATCHES
        )
        say(limit.table(grid))
        cell, _ = limit.decide(self._repository, self._catalog, self._photos, grid, seconds=self._lengths.sweep)
        self.details["limit_cell"] = f"batch {cell.batch}, {cell.threads} threads, {cell.processes} processes"
        shape = {"threads": cell.threads, "processes": cell.processes}
        with (
            limit.workers(self._repository, self._catalog, self._photos, **shape) as pool,
            LocalServer(catalog=self._catalog) as server,
            Generator(server.target, self._photos.requests, deadline_s=DEADLINE_S) as generator,
        ):
            self.details["generator_priority"] = generator.priority
            say("warming up")
            generator.closed_loop(callers=self._callers, seconds=4.0)
            before = read_cpu(os.getpid())
            report = self._saturated(pool, cell.batch, server, generator)
            served = report["served_photos_per_s"]
            report |= self._unloaded(generator)
            self._limit_now("before 70 %", pool, cell.batch)
            report |= self._steady(generator, served)
            self._limit_now("before overload", pool, cell.batch)
            report |= self._overload(server, generator, served)
            self._limit_now("after overload", pool, cell.batch)
            self.details["machine"] = quiet(before, read_cpu(os.getpid()))
        self.details["seconds"] = round(time.monotonic() - begun, 1)
        return report

    def _saturated(self, pool: limit.Workers, batch: int, server: LocalServer, generator: Generator) -> dict[str, Any]:
        limits: list[limit.Reading] = []
        served: list[float] = []
        objects: list[float] = []
        spans: list[tuple[Scrape, Scrape]] = []
        for turn in range(1, self._lengths.turns + 1):
            with self._watched(f"limit {turn}"):
                limits.append(pool.read(batch, self._lengths.limit))
            before = scrape(server.metrics_url)
            with self._watched(f"served {turn}"):
                run = generator.closed_loop(callers=self._callers, seconds=self._lengths.served)
            spans.append((before, scrape(server.metrics_url)))
            served.append(completed_per_s(run, RAMP_S, self._lengths.served))
            objects.append(float(run.objects[run.good].mean()) if run.good.any() else 0.0)
            say(f"turn {turn}: limit {limits[-1].photos_per_s:.2f}, served {served[-1]:.2f} photos/s, {run.codes}")
        readings = [reading.photos_per_s for reading in limits]
        ratios = [one / other for one, other in zip(served, readings, strict=True)]
        self.details |= {
            "limit_readings": rounded(readings),
            "served_readings": rounded(served),
            "ratio_readings": rounded(ratios),
            "objects_per_photo_limit": round(statistics.mean(r.objects_per_photo for r in limits), 3),
            "objects_per_photo_served": round(statistics.mean(objects), 3),
            "stage_ms_saturated": Between(spans[-1][0], spans[-1][1]).stage_shares(),
        }
        batches = [Between(before, after).mean_batch("crops") for before, after in spans]
        return {
            "limit_photos_per_s": round(statistics.median(readings), 3),
            "served_photos_per_s": round(statistics.median(served), 3),
            "served_over_limit": round(statistics.median(ratios), 3),
            "mean_embed_batch": round(statistics.median(batches), 2),
        }

    def _unloaded(self, generator: Generator) -> dict[str, Any]:
        say("one call at a time")
        with self._watched("unloaded"):
            run = generator.closed_loop(callers=1, seconds=self._lengths.unloaded)
        return {
            "unloaded_p50_ms": milliseconds(run.latency_s[run.good], 50),
            "first_result_p50_ms": milliseconds((run.first - run.intended)[run.good], 50),
        }

    def _steady(self, generator: Generator, served: float) -> dict[str, Any]:
        rate, seconds = served * LOAD, self._lengths.steady
        say(f"constant arrivals, {rate:.2f} photos/s")
        with self._watched("70 %"):
            even = generator.open_loop(arrivals.constant(rate, seconds))
        say(f"Poisson arrivals, {rate:.2f} photos/s")
        with self._watched("70 % Poisson"):
            uneven = generator.open_loop(arrivals.poisson(rate, seconds, seed=20))
        self._check("70 %", even)
        self._check("70 % Poisson", uneven)
        self.details["p50_ms_at_70pct"] = milliseconds(even.latency_s[even.good], 50)
        return {
            "p99_ms_at_70pct": milliseconds(even.latency_s[even.good], 99),
            "p99_ms_at_70pct_poisson": milliseconds(uneven.latency_s[uneven.good], 99),
            "p99_ms_at_70pct_poisson_md1": round(time_in_system(LOAD, 1.0 / served, 0.99) * 1e3, 2),
        }

    def _overload(self, server: LocalServer, generator: Generator, served: float) -> dict[str, Any]:
        rate = served * OVERLOAD
        say(f"overload, {rate:.2f} photos/s")
        before = scrape(server.metrics_url)
        with self._watched("overload"):
            run = generator.open_loop(arrivals.constant(rate, self._lengths.overload))
        span = Between(before, scrape(server.metrics_url))
        self._check("overload", run)
        refused = run.of("RESOURCE_EXHAUSTED")
        bound = span.quantile_bound("sightline_refusal_seconds", 0.99, reason="OVERLOADED")
        self.details["refusal_p99_at_server_at_most_ms"] = bound * 1e3
        self.details["goodput_over_served"] = round(completed_per_s(run, RAMP_S, self._lengths.overload) / served, 3)
        unanswered = int(run.of("UNANSWERED").sum())
        self.sound &= unanswered == 0
        return {
            "overload": {
                "offered_per_s": round(rate, 2),
                "goodput_per_s": round(completed_per_s(run, RAMP_S, self._lengths.overload), 3),
                "accepted_p99_ms": milliseconds(run.latency_s[run.good], 99),
                "rejected": int(refused.sum()),
                "rejected_p99_ms": milliseconds(run.latency_s[refused], 99),
                "unanswered": unanswered,
            }
        }

    @contextmanager
    def _watched(self, part: str) -> Iterator[None]:
        """Notes the cores that the host took away during a part: a ratio needs the same machine in both."""
        before = read_cpu()
        yield
        self._stolen[part] = quiet(before, read_cpu())["stolen_cores"]

    def _limit_now(self, when: str, pool: limit.Workers, batch: int) -> None:
        """Notes what the machine can do now: a shared one may slow down by a third without losing a core."""
        self._limits_between[when] = round(pool.read(batch, self._lengths.limit_between).photos_per_s, 3)
        say(f"{when}: limit {self._limits_between[when]:.2f} photos/s")

    def _check(self, name: str, run: Run) -> None:
        self.details[name] = {
            "codes": run.codes,
            "lateness_p99_ms": round(run.lateness_p99_s * 1e3, 2),
            "generator_cpu_s": round(run.cpu_s, 2),
            "valid": run.valid,
        }
        self.sound &= run.valid


def completed_per_s(run: Run, start_s: float, end_s: float) -> float:
    """Good calls a second that ended between the two instants; what ends outside says nothing of the pace."""
    ended = run.ended[run.good]
    return float(np.count_nonzero((ended >= start_s) & (ended < end_s))) / (end_s - start_s)


def rounded(values: Sequence[float]) -> list[float]:
    """Rounded to three decimals."""
    return [round(value, 3) for value in values]


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
