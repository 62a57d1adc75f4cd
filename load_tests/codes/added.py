"""Milliseconds that a call gets longer by, because codes are looked for in its photo: two servers in turn.

    python -m load_tests.codes.added --catalog DIR [--photos DIR] [--turns 5] [--alone-s 20]

Both servers run the whole time, one with `codes.enabled` and one without, and answer the same photos, which have no
code, one call after the other. Each photo counts by the median of its calls in both, over all turns: so a busy moment
of the machine counts for one call, and photos of many objects do not decide alone. Prints each turn on standard error,
and one JSON object on the last line: p50 and p99 over the photos of what is added (bound: 10 ms), and those of all
calls without and with. Exit code 1 when the bound is broken, or a call was not answered.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.codes.__main__ import MAX_MS
from load_tests.generator.photos import read_photos
from load_tests.generator.process import Generator
from load_tests.generator.records import Run, milliseconds
from load_tests.turns.sides import DEADLINE_S, Lengths, Side, add_options, alternate
from sightline_client.local_server import LocalServer


def by_photo(runs: Sequence[Run], photos: int) -> NDArray[np.float64]:
    """The median milliseconds of each photo's answered calls, float64 [photos]; NaN for one without."""
    request = np.concatenate([run.request[run.good] for run in runs])
    latency = np.concatenate([run.latency_s[run.good] for run in runs])
    found = [latency[request == photo] for photo in range(photos)]
    return np.array([1e3 * np.median(each) if len(each) else np.nan for each in found])


def report(turns: Sequence[tuple[Run, Run]], photos: int) -> dict[str, Any]:
    """The result of all turns, each without and with codes."""
    without, with_codes = ([turn[side] for turn in turns] for side in (0, 1))
    added = by_photo(with_codes, photos) - by_photo(without, photos)
    added = added[~np.isnan(added)]
    all_calls = {}
    for name, runs in (("without", without), ("with", with_codes)):
        latency = np.concatenate([run.latency_s[run.good] for run in runs])
        all_calls[name] = {"calls": len(latency), "p50": milliseconds(latency, 50), "p99": milliseconds(latency, 99)}
    found = {"p50": round(float(np.median(added)), 2), "p99": round(float(np.quantile(added, 0.99)), 2)}
    unanswered = sum(int((~run.of("OK")).sum()) for runs in (without, with_codes) for run in runs)
    kept = all(value <= MAX_MS for value in found.values()) and not unanswered
    return {
        "kept": kept,
        "photos": len(added),
        "added_ms": {"at_most": MAX_MS, **found},
        "call_ms": all_calls,
        "unanswered": unanswered,
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, alone_s=20.0, loaded_s=1.0)
    options = parser.parse_args()
    requests = read_photos(options.photos).requests
    turns: list[tuple[Run, Run]] = []
    with ExitStack() as stack:

        def side(enabled: str) -> Side:
            server = LocalServer(catalog=options.catalog, env={"SIGHTLINE_CODES__ENABLED": enabled})
            target = stack.enter_context(server).target
            return Side(server, stack.enter_context(Generator(target, requests, deadline_s=DEADLINE_S)))

        for before, after in alternate(side("false"), side("true"), Lengths.of(options), options.turns):
            turns.append((before.alone, after.alone))
            print(json.dumps(report(turns[-1:], len(requests))), file=sys.stderr, flush=True)
    found = report(turns, len(requests))
    print(json.dumps(found))
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
