"""Two catalogs of different dimension under load at once: each answers by its own embedder, and at what cost?

    python -m load_tests.two_catalogs [--photos 2] [--seconds 30] [--turns 3] [--catalog DIR]
The showroom is served twice: with the default embedder (1280 numbers) and with a second one of 256 numbers that costs
as much. Turns of searches in the one catalog and in both take turns at the same rate of photos. Prints each turn, then
one JSON object; exit code 1 when a call failed, an answer was that of another embedder, or the detector ran more than
once for a photo.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.attacks.__main__ import demo_catalog
from load_tests.catalog_churn.turns import codes_of
from load_tests.generator.arrivals import constant
from load_tests.generator.photos import SHOWROOM, Photos, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import Run, milliseconds
from load_tests.generator.tasks import Due
from load_tests.observe.holdings import MEGABYTE, look
from load_tests.observe.machine import quiet, read_cpu
from load_tests.observe.scrapes import Between, scrape
from load_tests.two_catalogs.answers import Answer, Checks, calm_answers, check
from load_tests.two_catalogs.shops import FOLDER, Shops, two_shops
from sightline.v1 import lens_service_pb2
from sightline_client.local_server import LocalServer

DEADLINE_S = 10.0
WARM_UP_S = 4.0
BATCHERS = ("frames", "crops", f"crops/{FOLDER}")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: the calls, the checks next to them, and the items of each batcher."""

    run: Run
    checks: Checks
    items: dict[str, int]

    @property
    def failed(self) -> int:
        """Calls and checks that were not answered in full."""
        return int((~self.run.good).sum()) + len(self.checks.errors)

    @property
    def detector_runs_once(self) -> bool:
        """True if the detector got each photo once."""
        return self.items["frames"] == len(self.run.intended) + self.checks.made

    def figures(self) -> dict[str, Any]:
        """The figures of the turn."""
        return {
            "searches": len(self.run.intended),
            "codes": codes_of(self.run),
            "p50_ms": milliseconds(self.run.latency_s, 50),
            "p99_ms": milliseconds(self.run.latency_s, 99),
            "checks": self.checks.made,
            "wrong": self.checks.wrong,
            "items": self.items,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the turns of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.two_catalogs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--photos", type=float, default=2.0, help="searches a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a turn")
    parser.add_argument("--turns", type=int, default=3, help="turns of each kind")
    parser.add_argument("--catalog", type=Path, help="of the default embedder (default: the demo's)")
    options = parser.parse_args(arguments)
    with two_shops((options.catalog or demo_catalog()).absolute()) as shops:
        found = measure(shops, read_photos(SHOWROOM), options.photos, options.seconds, options.turns)
    print(json.dumps(found), flush=True)
    return 0 if found["kept"] else 1


def measure(shops: Shops, photos: Photos, rate: float, seconds: float, turns: int) -> dict[str, Any]:
    """Serves both catalogs, plays the turns and prints them; `kept` says whether everything held."""
    names = list(shops.catalogs)
    arguments = [part for name, path in shops.catalogs.items() for part in ("--catalog", f"{name}={path}")]
    requests = [
        lens_service_pb2.SearchRequest(photo=photo, catalog=name).SerializeToString()
        for name in names
        for photo in photos.encoded
    ]
    with LocalServer(extra_args=[*arguments, "--repository", str(shops.repository)]) as server:
        calm = asyncio.run(calm_answers(server.target, photos, names))
        played: dict[str, list[Turn]] = {"one": [], "both": []}
        with Generator(server.target, requests, deadline_s=DEADLINE_S) as generator:
            generator.closed_loop(callers=2, seconds=WARM_UP_S)
            before = read_cpu(server.pid, generator.pid)
            for _ in range(turns):
                for kind, found in played.items():
                    calls = schedule(rate, seconds, len(photos.encoded), 1 if kind == "one" else len(names))
                    asked = calm if kind == "both" else {key: calm[key] for key in calm if key[0] == names[0]}
                    found.append(play(server, generator, calls, photos, asked, seconds))
                    print(f"{kind:5} {found[-1].figures()}", file=sys.stderr, flush=True)
            machine = quiet(before, read_cpu(server.pid, generator.pid))
        memory = {role: round(each.rss / MEGABYTE) for role, each in look(server.pid, os.getpid()).held.items()}
    return report(played, {name: calm[name, 0].embedder for name in names}, memory, machine)


def schedule(rate: float, seconds: float, photos: int, catalogs: int) -> list[Due]:
    """Calls at `rate`: each photo in turn, in one catalog after the other."""
    arrivals = enumerate(constant(rate, seconds))
    return [Due(at, place % catalogs * photos + place // catalogs % photos) for place, at in arrivals]


def play(
    server: LocalServer,
    generator: Generator,
    calls: Sequence[Due],
    photos: Photos,
    calm: dict[tuple[str, int], Answer],
    seconds: float,
) -> Turn:
    """One turn of the calls, with checks next to them."""
    before = scrape(server.metrics_url)
    generator.start(calls)
    checks = asyncio.run(check(server.target, photos, calm, seconds))
    run = generator.finish(seconds)
    grown = Between(before, scrape(server.metrics_url))
    items = {name: int(grown.grown("sightline_batch_size_sum", batcher=name)) for name in BATCHERS}
    return Turn(run, checks, items)


def report(
    played: dict[str, list[Turn]], embedders: dict[str, str], memory: dict[str, int], machine: dict[str, float]
) -> dict[str, Any]:
    """The figures of all turns, and whether everything held."""
    turns = [turn for found in played.values() for turn in found]
    for error in dict.fromkeys(text for turn in turns for text in turn.checks.errors):
        print(f"error {error}", file=sys.stderr, flush=True)
    failed, wrong = sum(turn.failed for turn in turns), sum(turn.checks.wrong for turn in turns)
    once = all(turn.detector_runs_once for turn in turns)
    idle = all(turn.items[BATCHERS[2]] == 0 for turn in played["one"])
    used = all(turn.items[name] > 0 for turn in played["both"] for name in BATCHERS)
    return {
        "embedders": embedders,
        **{kind: [turn.figures() for turn in found] for kind, found in played.items()},
        "failed": failed,
        "wrong": wrong,
        "detector_runs_once": once,
        "resident_mb": memory,
        "machine": machine,
        "kept": not failed and not wrong and once and idle and used,
    }


if __name__ == "__main__":
    sys.exit(main())
