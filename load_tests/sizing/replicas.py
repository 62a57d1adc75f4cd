"""Predicts what several replicas on one machine do, and compares it with a measured run.

Rule: each replica has its share of the cores to itself, and the prediction is the sum of what each does there alone:
the same proportion of machines to photos that the tables assume. With shared cores each may use all of them, and the
prediction is what one of them does there alone: cores decide, not the number of servers. All readings of a
turn are taken close to each other, with every server running, so that a machine that grows busier harms all of them.
"""

import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.bench import RAMP_S, completed_per_s
from load_tests.generator.photos import Photos, read_photos
from load_tests.generator.process import Generator
from load_tests.observe.machine import quiet, read_cpu
from sightline_client.local_server import LocalServer

BOUND = 0.2
DEADLINE_S = 10.0
"""Long, because the subject is how many photos are answered, also on a machine that others use."""
MOST_OTHER_CORES = 0.1
"""Share of the machine that others may use for a run to count."""
CALLERS_PER_CORE = 3
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Photos a second of each replica alone, and of all together at once; `shared` where they have the same cores."""

    alone: tuple[float, ...]
    together: float
    shared: bool = False

    @property
    def predicted(self) -> float:
        """The sum of what each does alone; the mean of that where they share their cores."""
        return statistics.mean(self.alone) if self.shared else sum(self.alone)


@dataclass(frozen=True, slots=True)
class Compared:
    """The turns of a comparison."""

    turns: tuple[Turn, ...]
    other_cores: float = 0.0

    @property
    def predicted(self) -> float:
        """Photos a second, median of the turns."""
        return statistics.median(turn.predicted for turn in self.turns)

    @property
    def measured(self) -> float:
        """Photos a second, median of the turns."""
        return statistics.median(turn.together for turn in self.turns)

    @property
    def ratio(self) -> float:
        """Measured over predicted: the median of the turns' ratios, because a turn has one machine's speed."""
        return statistics.median(turn.together / turn.predicted if turn.predicted else 0.0 for turn in self.turns)

    @property
    def holds(self) -> bool:
        """True if the prediction lies within the bound."""
        return abs(self.ratio - 1) <= BOUND

    @property
    def valid(self) -> bool:
        """True if others left the machine alone; if not, the run says nothing about replicas."""
        return self.other_cores <= MOST_OTHER_CORES * (os.cpu_count() or 1)

    @property
    def facts(self) -> dict[str, Any]:
        """Both figures and every reading."""
        return {
            "predicted_photos_per_s": round(self.predicted, 3),
            "measured_photos_per_s": round(self.measured, 3),
            "measured_over_predicted": round(self.ratio, 3),
            "bound": BOUND,
            "holds": self.holds,
            "valid": self.valid,
            "alone": [list(turn.alone) for turn in self.turns],
            "together": [turn.together for turn in self.turns],
            "other_cores": self.other_cores,
            "cores": os.cpu_count(),
        }


def compare(
    catalog: Path, photos_from: Path, replicas: int, *, turns: int, seconds: float, shared: bool = False
) -> Compared:
    """Starts `replicas` servers, measures, and compares. Raises `ValueError` on a machine with too few cores.

    With `shared`, each server may use all cores, and calls are divided evenly among the servers.
    """
    photos = read_photos(photos_from)
    available = sorted(os.sched_getaffinity(0))
    shares = [available] * replicas if shared else shares_of_cores(available, replicas)
    taskset = shutil.which("taskset")
    if taskset is None:
        raise ValueError("taskset is not installed; it is part of util-linux")
    with ExitStack() as stack:
        generators = []
        for share in shares:
            cores = ",".join(map(str, share))
            server = stack.enter_context(LocalServer(catalog=catalog, prefix=(taskset, "-c", cores)))
            generators.append(stack.enter_context(generator_of(server, photos)))
            say(f"a replica serves on core {cores}")
        callers = [CALLERS_PER_CORE * len(share) for share in shares]
        together(generators, callers, WARM_UP_S)
        cpu = read_cpu(os.getpid())
        read = tuple(turn(generators, callers, seconds, number + 1, shared=shared) for number in range(turns))
        return Compared(read, quiet(cpu, read_cpu(os.getpid()))["other_cores"])


def generator_of(server: LocalServer, photos: Photos) -> Generator:
    """The callers of one replica."""
    return Generator(server.target, photos.requests, connections=4, deadline_s=DEADLINE_S)


def turn(
    generators: Sequence[Generator], callers: Sequence[int], seconds: float, number: int, *, shared: bool = False
) -> Turn:
    """Each alone, then all at once; with `shared` cores as many callers altogether as one has alone."""
    alone = tuple(
        together([generator], [inside], seconds) for generator, inside in zip(generators, callers, strict=True)
    )
    divided = [max(1, inside // len(generators)) for inside in callers] if shared else callers
    read = Turn(alone, together(generators, divided, seconds), shared)
    say(f"turn {number}: alone {alone}, predicted {read.predicted:.2f}, measured {read.together:.2f} photos/s")
    return read


def together(generators: Sequence[Generator], callers: Sequence[int], seconds: float) -> float:
    """Photos a second of all replicas, each with its own callers in a closed loop."""
    with ThreadPoolExecutor(len(generators)) as threads:
        runs = [
            threads.submit(generator.closed_loop, callers=inside, seconds=seconds)
            for generator, inside in zip(generators, callers, strict=True)
        ]
        for run in runs:
            if set(run.result().codes) - {"OK"}:
                say(f"calls by code: {run.result().codes}")
        return round(sum(completed_per_s(run.result(), min(RAMP_S, seconds / 2), seconds) for run in runs), 3)


def shares_of_cores(cores: Sequence[int], replicas: int) -> list[list[int]]:
    """Neighbouring cores for each replica, as many for each."""
    each = len(cores) // replicas
    if replicas < 1 or each == 0:
        raise ValueError(f"{replicas} replicas need a core each, and there are {len(cores)}")
    return [list(cores[place * each : (place + 1) * each]) for place in range(replicas)]


def say(text: str) -> None:
    """Progress, away from the result."""
    print(text, file=sys.stderr, flush=True)
