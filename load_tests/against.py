"""This checkout against another one, in turn on the same machine and photos.

    git worktree add /tmp/before COMMIT
    python -m load_tests.against /tmp/before --catalog DIR

Both servers run the whole time and are loaded one after the other, in alternating order: one caller on photos of
several objects, then several callers. Prints each turn on standard error, and for each figure the medians, the median
of the turns' ratios and their range as one JSON object on the last line.
Rule: only ratios within a turn are compared; a machine that others use too changes between turns.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from load_tests.generator.photos import ROOT, SHOWROOM, read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import Run, milliseconds
from load_tests.generator.tasks import Due
from load_tests.observe.machine import tree_cpu_s
from load_tests.observe.scrapes import Between, scrape
from sightline_client.local_server import LocalServer

PATHS = ("server", "clients/python", "protos/python")
DEADLINE_S = 10.0
PROBE_S = 0.5


@dataclass(frozen=True, slots=True)
class Figures:
    """One server's turn: milliseconds, a ratio, photos a second, CPU milliseconds of a photo, crops of a batch."""

    unloaded_p50_ms: float
    first_result_p50_ms: float
    first_over_whole: float
    unloaded_cpu_ms: float
    photos_per_s: float
    loaded_cpu_ms: float
    mean_embed_batch: float

    @classmethod
    def of(cls, alone: Run, alone_cpu_s: float, loaded: Run, loaded_cpu_s: float, batch: float) -> Self:
        """The figures of a run of one caller and one of several, with the CPU seconds of the server in each."""
        whole, first = alone.latency_s[alone.good], (alone.first - alone.intended)[alone.good]
        return cls(
            unloaded_p50_ms=milliseconds(whole, 50),
            first_result_p50_ms=milliseconds(first, 50),
            first_over_whole=round(float(np.median(first)) / float(np.median(whole)), 3),
            unloaded_cpu_ms=round(1e3 * alone_cpu_s / len(whole), 1),
            photos_per_s=round(float(loaded.good.sum()) / float(loaded.ended.max()), 3),
            loaded_cpu_ms=round(1e3 * loaded_cpu_s / float(loaded.good.sum()), 1),
            mean_embed_batch=batch,
        )


@dataclass(frozen=True, slots=True)
class Lengths:
    """Callers of the loaded part, and seconds of both parts."""

    callers: int
    alone_s: float
    loaded_s: float


class Side:
    """A running server of one checkout and what loads it."""

    def __init__(self, server: LocalServer, generator: Generator) -> None:
        self._server = server
        self._generator = generator

    def turn(self, lengths: Lengths) -> Figures:
        """One turn of this server while the other one is idle."""
        alone, alone_cpu_s = self._run(1, lengths.alone_s)
        before = scrape(self._server.metrics_url)
        loaded, loaded_cpu_s = self._run(lengths.callers, lengths.loaded_s)
        batch = Between(before, scrape(self._server.metrics_url)).mean_batch("crops")
        return Figures.of(alone, alone_cpu_s, loaded, loaded_cpu_s, batch)

    def _run(self, callers: int, seconds: float) -> tuple[Run, float]:
        begun = tree_cpu_s(self._server.pid)
        run = self._generator.closed_loop(callers=callers, seconds=seconds)
        return run, tree_cpu_s(self._server.pid) - begun


def compared(turns: Sequence[tuple[Figures, Figures]]) -> dict[str, dict[str, float]]:
    """Figure -> its medians before and after, and the median and range of after / before over the turns."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for before, after in turns:
        for name, value in asdict(before).items():
            columns.setdefault(name, []).append((value, getattr(after, name)))
    found = {}
    for name, pairs in columns.items():
        ratios = [after / before for before, after in pairs]
        found[name] = {
            "before": round(statistics.median(before for before, _ in pairs), 3),
            "after": round(statistics.median(after for _, after in pairs), 3),
            "ratio": round(statistics.median(ratios), 3),
            "least": round(min(ratios), 3),
            "most": round(max(ratios), 3),
        }
    return found


def environment(checkout: Path, other_home: Path | None = None) -> Mapping[str, str]:
    """The environment in which `python -m sightline_server` is that of `checkout`, with the models of this one.

    `other_home` is a home with the engine of that checkout, where it is not the engine of this one.
    """
    home = str(other_home.resolve()) if other_home else os.environ.get("SIGHTLINE_HOME", str(ROOT / ".sightline"))
    path = ":".join(str(checkout.resolve() / folder) for folder in PATHS)
    return {"PYTHONPATH": path, "SIGHTLINE_HOME": home, "SIGHTLINE_ENGINE__REPOSITORY": str(ROOT / "model_repository")}


def with_objects(target: str, requests: Sequence[bytes], least: int) -> list[bytes]:
    """The requests whose photos have at least `least` objects, as the server at `target` finds them."""
    with Generator(target, requests, deadline_s=DEADLINE_S) as probe:
        run = probe.play([Due(place * PROBE_S, place) for place in range(len(requests))])
    enough = run.good & np.greater_equal(run.objects, least)
    return [requests[place] for place in sorted(set(run.request[enough].tolist()))]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument(
        "--before-home", type=Path, help="SIGHTLINE_HOME with the engine of the other checkout, if it differs"
    )
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--objects", type=int, default=3, help="the fewest objects of a photo")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--callers", type=int, default=4, help="callers of the loaded part")
    parser.add_argument("--alone-s", type=float, default=6.0, help="seconds of one caller in each turn")
    parser.add_argument("--loaded-s", type=float, default=12.0, help="seconds of several callers in each turn")
    options = parser.parse_args()
    lengths = Lengths(options.callers, options.alone_s, options.loaded_s)
    requests = read_photos(options.photos).requests
    turns: list[tuple[Figures, Figures]] = []
    with ExitStack() as stack:
        environments = {"before": environment(options.before, options.before_home), "after": environment(ROOT)}
        servers = {
            name: stack.enter_context(LocalServer(catalog=options.catalog, env=each))
            for name, each in environments.items()
        }
        wanted = with_objects(servers["before"].target, requests, options.objects)
        sides = {
            name: Side(server, stack.enter_context(Generator(server.target, wanted, deadline_s=DEADLINE_S)))
            for name, server in servers.items()
        }
        warm = Lengths(lengths.callers, 1.0, 3.0)
        for side in sides.values():
            side.turn(warm)
        for number in range(options.turns):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            figures = {name: sides[name].turn(lengths) for name in order}
            turns.append((figures["before"], figures["after"]))
            print(json.dumps({name: asdict(each) for name, each in figures.items()}), file=sys.stderr, flush=True)
    print(json.dumps({"photos": len(wanted), "turns": options.turns, **compared(turns)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
