"""The cost of identity, consent grants and the audit log: a server with them and one without, in turn.

    python -m load_tests.access_cost --catalog DIR [--turns 5]

Both servers run the whole time on the same photos and are loaded one after the other, in alternating order: one caller,
then several. Each search of the server with access has a token (JWT) and a grant for its photo, both signed, and its
record is on the disk before it is answered. Prints each turn on standard error, and one JSON object on the last line:
milliseconds of CPU that a call takes more (bound: 3), p50 and p99 of one caller over all turns, and the medians and
ranges of each turn's ratios, where `before` is the server without access. Exit code 1 when the bound is broken.
Rule: CPU is that of the server's own processes. The engine does the same for both, and its CPU varies more.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from load_tests.generator.photos import read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import milliseconds
from load_tests.guarded.caller import GrantedCaller
from load_tests.guarded.rights import Rights
from load_tests.turns.figures import compared
from load_tests.turns.sides import DEADLINE_S, Lengths, Side, Turn, add_options, alternate
from sightline_client.local_server import LocalServer

MORE_CPU_MS = 3.0
"""Milliseconds of CPU that identity, grant and audit may take of a call."""


@dataclass(frozen=True, slots=True)
class AccessFigures:
    """One server's turn: milliseconds of one caller, photos a second of several, and CPU milliseconds of a call."""

    unloaded_p50_ms: float
    unloaded_p99_ms: float
    unloaded_cpu_ms: float
    photos_per_s: float
    loaded_cpu_ms: float

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """The figures of a turn, of the calls that were answered in full. Raises `ValueError` when there is none."""
        alone, loaded = turn.alone, turn.loaded
        if not alone.good.any() or not loaded.good.any():
            raise ValueError(f"no call was answered: {alone.codes} with one caller, {loaded.codes} with several")
        whole = alone.latency_s[alone.good]
        return cls(
            unloaded_p50_ms=milliseconds(whole, 50),
            unloaded_p99_ms=milliseconds(whole, 99),
            unloaded_cpu_ms=round(1e3 * turn.alone_cpu.own_s / len(whole), 2),
            photos_per_s=round(float(loaded.good.sum()) / float(loaded.ended.max()), 3),
            loaded_cpu_ms=round(1e3 * turn.loaded_cpu.own_s / float(loaded.good.sum()), 2),
        )


def more(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    """The median of the differences within the turns, and their range."""
    found = [after - before for before, after in values]
    return {
        name: round(value, 3)
        for name, value in (("median", statistics.median(found)), ("least", min(found)), ("most", max(found)))
    }


def unloaded(turns: Sequence[Turn]) -> dict[str, float]:
    """p50 and p99 in milliseconds of one caller, over all calls of all turns."""
    latency = np.concatenate([turn.alone.latency_s[turn.alone.good] for turn in turns])
    return {"calls": len(latency), "p50": milliseconds(latency, 50), "p99": milliseconds(latency, 99)}


def report(turns: Sequence[tuple[Turn, Turn]]) -> dict[str, Any]:
    """The result of all turns."""
    figures = [(AccessFigures.of(before), AccessFigures.of(after)) for before, after in turns]
    cpu = {
        "unloaded": more([(before.unloaded_cpu_ms, after.unloaded_cpu_ms) for before, after in figures]),
        "loaded": more([(before.loaded_cpu_ms, after.loaded_cpu_ms) for before, after in figures]),
    }
    return {
        "kept": all(each["median"] <= MORE_CPU_MS for each in cpu.values()),
        "turns": len(turns),
        "more_cpu_ms": {"at_most": MORE_CPU_MS, **cpu},
        "unloaded_ms": {
            "without": unloaded([before for before, _ in turns]),
            "with": unloaded([after for _, after in turns]),
        },
        **compared(figures),
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, alone_s=10.0, loaded_s=12.0)
    options = parser.parse_args()
    requests = read_photos(options.photos).requests
    turns: list[tuple[Turn, Turn]] = []
    with ExitStack() as stack:
        rights = Rights(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-access-"))))
        without = stack.enter_context(LocalServer(catalog=options.catalog))
        guarded = stack.enter_context(LocalServer(catalog=options.catalog, env=rights.variables))
        plain = stack.enter_context(Generator(without.target, requests, deadline_s=DEADLINE_S))
        granted = stack.enter_context(
            Generator(
                guarded.target,
                requests,
                deadline_s=DEADLINE_S,
                caller=partial(GrantedCaller, credentials=rights.app()),
            )
        )
        sides = Side(without, plain), Side(guarded, granted)
        for before, after in alternate(*sides, lengths=Lengths.of(options), turns=options.turns):
            turns.append((before, after))
            figures = {"without": asdict(AccessFigures.of(before)), "with": asdict(AccessFigures.of(after))}
            print(json.dumps(figures), file=sys.stderr, flush=True)
    found = report(turns)
    print(json.dumps({"photos": len(requests), **found}))
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
