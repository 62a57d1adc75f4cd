"""One scenario against a server: `python -m load_tests.run SCENARIO (--catalog DIR | --target HOST:PORT)`.

Prints the figures and the thresholds, writes `bench-out/SCENARIO.json` and `.html` and, of a server that it started,
the log next to them, and exits 1 when a threshold does not hold, 3 when the generator was late and the run says nothing
of the server.
"""

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from load_tests import large_catalog
from load_tests.generator.photos import ROOT, SHOWROOM, Photos, bad_requests, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import Run
from load_tests.observe import pace
from load_tests.observe.holdings import growth, rss_slopes
from load_tests.observe.sampling import Seen, Server, observed, settle
from load_tests.observe.scrapes import Between
from load_tests.report import document, figures
from load_tests.scenarios import abandon
from load_tests.scenarios.scenario import Scenario, known, read_scenario
from sightline_client.local_server import LocalServer

WARM_UP_S = 4.0
CAPACITY_S = 10.0
THRESHOLD_MISSED, GENERATOR_LATE = 1, 3


def main() -> int:
    """Runs the scenario of the command line; returns the exit code."""
    arguments = parse()
    scenario = read_scenario(arguments.scenario)
    if (seconds := arguments.seconds or 3600 * (arguments.hours or 0.0)) and scenario.phases:
        scenario = scenario.lasting(seconds)
    photos = reduced(read_photos(arguments.photos), scenario.photo_edge)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with served(arguments, scenario) as server:
        found = play(scenario, photos, server, arguments)
    found.update(scenario=scenario.name, about=scenario.about, photos_sha256=photos.digest)
    found["thresholds"] = figures.verdicts(found["figures"], scenario.thresholds)
    document.write(arguments.out / scenario.name, found)
    say(document.text(found))
    print(json.dumps({"scenario": scenario.name, **found["figures"]}))
    if not found["valid"]:
        say("invalid: the generator was too late; this run measured the generator and not the server")
        return GENERATOR_LATE
    return 0 if all(verdict["holds"] for verdict in found["thresholds"]) else THRESHOLD_MISSED


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", help=f"a .toml file, or one of {', '.join(known())}")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--catalog", type=Path, help="start a server on this catalog")
    where.add_argument("--target", help="HOST:PORT of a running server")
    parser.add_argument("--metrics", help="URL of a running server's /metrics; needed with --target")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--rate", type=float, help="photos/s that the server can do; else measured first")
    parser.add_argument("--seconds", type=float, help="length of the scenario; its phases keep their proportions")
    parser.add_argument("--hours", type=float, help="the same in hours")
    parser.add_argument("--poisson", action="store_true", help="Poisson arrivals instead of even ones")
    parser.add_argument("--calls", type=int, help="abandon: cancelled calls")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out", help="folder of the report")
    arguments = parser.parse_args()
    if arguments.target and not arguments.metrics:
        parser.error("--target needs --metrics")
    return arguments


@contextmanager
def served(arguments: argparse.Namespace, scenario: Scenario) -> Iterator[Server]:
    """The server of the command line: a running one, or one that is started for the length of the block."""
    if arguments.target:
        yield Server(arguments.target, arguments.metrics)
        return
    with tempfile.TemporaryDirectory(prefix="sightline-load-") as folder:
        catalog: Path = arguments.catalog
        if scenario.products:
            catalog = Path(folder) / "catalog"
            large_catalog.write(catalog, ROOT / "model_repository", scenario.products)
        log: Path = arguments.out / f"{scenario.name}.log"
        with LocalServer(catalog=catalog, env=scenario.environment, log=log) as server:
            yield Server(server.target, server.metrics_url, server.pid)


def play(scenario: Scenario, photos: Photos, server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    """Warms up, plays the scenario, and gathers everything that the report shows."""
    good = photos.requests
    bad = bad_requests(good)
    with Generator(server.target, [*good, *bad], deadline_s=scenario.deadline_s) as generator:
        say(f"{scenario.name}: {scenario.about}; warming up")
        generator.closed_loop(callers=4, seconds=WARM_UP_S, requests=len(good))
        if scenario.abandon is not None:
            return abandon.play(scenario.abandon, server, generator, len(good), arguments.calls, say)
        capacity = arguments.rate or measured_capacity(generator, len(good))
        calls = scenario.calls(capacity, len(good), len(bad), seed=1 if arguments.poisson else None)
        say(f"capacity {capacity:.2f} photos/s; {len(calls)} calls in {scenario.seconds:.0f} s")
        with observed(server, generator, scenario.seconds) as seen:
            run = generator.play(calls)
            settle(server.metrics_url)
        return gather(scenario, run, capacity, len(good), seen)


def measured_capacity(generator: Generator, requests: int) -> float:
    """Photos a second with enough callers that nothing idles."""
    callers = 3 * (os.cpu_count() or 1)
    run = generator.closed_loop(callers=callers, seconds=CAPACITY_S, requests=requests)
    return float(run.good.sum()) / run.seconds


def gather(scenario: Scenario, run: Run, capacity: float, good: int, seen: Seen) -> dict[str, Any]:
    """Everything that the report shows of an open-loop run."""
    span = Between(seen.scrapes[0], seen.scrapes[-1])
    found = figures.of_run(run, scenario.phases, capacity, good)
    found |= pace.of_host(seen.paces)
    found["in_flight_after"] = seen.scrapes[-1].sum("sightline_in_flight")
    found["engine_restarts"] = span.grown("sightline_engine_restarts_total")
    found["mean_embed_batch"] = span.mean_batch("crops")
    found["refusal_p99_at_server_at_most_ms"] = 1e3 * span.quantile_bound(
        "sightline_refusal_seconds", 0.99, reason="OVERLOADED"
    )
    processes: dict[str, Any] = {}
    if seen.watch is not None and len(seen.watch.looks) > 1:
        looks = seen.watch.looks
        found |= figures.of_processes(looks)
        processes = {"growth": growth(looks[0], looks[-1]), "rss_mb_per_minute": rss_slopes(looks, 1 / 3)}
    return {
        "figures": found,
        "valid": run.valid,
        "codes": run.codes,
        "capacity_per_s": round(capacity, 3),
        "machine": seen.quiet,
        "minutes": minutes(run, scenario.seconds, seen),
        "stages_ms": span.stage_shares(),
        "processes": processes,
        "charts": document.charts(scenario, run, seen.scrapes, seen.watch.looks if seen.watch else []),
        "hdr_histogram_us": document.encoded(run),
    }


def minutes(run: Run, seconds: float, seen: Seen) -> list[dict[str, float]]:
    """The figures of the calls by minute, with the speed of the host; nothing of short runs."""
    calls = figures.by_minute(run, seconds)
    return [{**of_calls, **of_host} for of_calls, of_host in zip(calls, pace.by_minute(seen.paces), strict=False)]


def reduced(photos: Photos, edge: int) -> Photos:
    """The photos with their longer edge at most `edge`; as they are for 0."""
    if not edge:
        return photos
    smaller: list[bytes] = []
    for photo in photos.encoded:
        with Image.open(io.BytesIO(photo)) as picture:
            picture.thumbnail((edge, edge))
            encoded = io.BytesIO()
            picture.convert("RGB").save(encoded, "JPEG", quality=85)
        smaller.append(encoded.getvalue())
    return Photos(photos.names, tuple(smaller))


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
