"""One of two servers that are loaded in turn.

Rule: a server is idle while it is the other one's turn, and both get the same photos.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from load_tests.generator.photos import SHOWROOM
from load_tests.generator.process import Generator
from load_tests.generator.records import Run
from load_tests.generator.tasks import Due
from load_tests.observe.machine import tree_cpu_s
from load_tests.observe.processes import own_cpu_s
from load_tests.observe.scrapes import Between, scrape
from sightline_client.local_server import LocalServer

DEADLINE_S = 10.0
PROBE_S = 0.5
WARM_ALONE_S, WARM_LOADED_S = 1.0, 3.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Callers of the loaded part, and seconds of both parts."""

    callers: int
    alone_s: float
    loaded_s: float

    @classmethod
    def of(cls, options: Namespace) -> "Lengths":
        """Those of a command line."""
        return cls(options.callers, options.alone_s, options.loaded_s)


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of a server with its engine, and of the server alone."""

    whole_s: float
    own_s: float

    @classmethod
    def of(cls, pid: int) -> "Cpu":
        """Those of a server up to now."""
        return cls(tree_cpu_s(pid), own_cpu_s(pid))

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.whole_s - other.whole_s, self.own_s - other.own_s)


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a server: the calls of one caller and of several, their CPU, and the mean batch of crops."""

    alone: Run
    alone_cpu: Cpu
    loaded: Run
    loaded_cpu: Cpu
    mean_embed_batch: float


class Side:
    """A running server, and what loads it."""

    def __init__(self, server: LocalServer, generator: Generator) -> None:
        self._server = server
        self._generator = generator

    def turn(self, lengths: Lengths) -> Turn:
        """One turn of this server while the other one is idle."""
        alone, alone_cpu = self._run(1, lengths.alone_s)
        before = scrape(self._server.metrics_url)
        loaded, loaded_cpu = self._run(lengths.callers, lengths.loaded_s)
        batch = Between(before, scrape(self._server.metrics_url)).mean_batch("crops")
        return Turn(alone, alone_cpu, loaded, loaded_cpu, batch)

    def _run(self, callers: int, seconds: float) -> tuple[Run, Cpu]:
        begun = Cpu.of(self._server.pid)
        run = self._generator.closed_loop(callers=callers, seconds=seconds)
        return run, Cpu.of(self._server.pid) - begun


def alternate(before: Side, after: Side, lengths: Lengths, turns: int) -> Iterator[tuple[Turn, Turn]]:
    """Warms both sides, then gives a turn of each, `turns` times; every other time the second side begins."""
    sides = {"before": before, "after": after}
    for side in sides.values():
        side.turn(Lengths(lengths.callers, WARM_ALONE_S, WARM_LOADED_S))
    for number in range(turns):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        made = {name: sides[name].turn(lengths) for name in order}
        yield made["before"], made["after"]


def with_objects(target: str, requests: Sequence[bytes], least: int) -> list[bytes]:
    """The requests whose photos have at least `least` objects, as the server at `target` finds them."""
    with Generator(target, requests, deadline_s=DEADLINE_S) as probe:
        run = probe.play([Due(place * PROBE_S, place) for place in range(len(requests))])
    enough = run.good & np.greater_equal(run.objects, least)
    return [requests[place] for place in sorted(set(run.request[enough].tolist()))]


def add_options(parser: ArgumentParser, *, alone_s: float, loaded_s: float) -> None:
    """Adds the options of a comparison in turns, with these defaults in seconds."""
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--callers", type=int, default=4, help="callers of the loaded part")
    parser.add_argument("--alone-s", type=float, default=alone_s, help="seconds of one caller in each turn")
    parser.add_argument("--loaded-s", type=float, default=loaded_s, help="seconds of several callers in each turn")
