"""Ends of a catalog's writers at random moments: no acknowledged write is lost, and nothing is half there.

    python -m load_tests.catalog_crash [--rounds 50] [--signal kill|term|mixed] [--writers 4] [--products 200]
                                       [--seed 0] [--work DIR]
    python -m load_tests.catalog_crash --served [--signal kill|term|engine|mixed] [--catalog DIR --images DIR] ...

The first form ends a process that writes to a catalog alone, with SIGKILL or SIGTERM. SIGTERM closes the catalog under
its writers, as a server that stops does, and must end the process within 10 seconds. The second form starts a server
whose CatalogService is written by gRPC writers, with ready embeddings and with images of the catalog `--catalog`, and
ends the server (kill, term), or tritonserver, the embedder's process, or tritonserver and then the server (engine).
After each start the catalog is verified, read, searched and compared with what was acknowledged; half of the writes
without an answer are sent again with their request ids. Prints one JSON object; exit code 1 when anything was lost.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from load_tests.attacks.__main__ import demo_catalog
from load_tests.catalog_churn.shop import read_seeds
from load_tests.catalog_crash.rounds import SIGNALS, crash
from load_tests.catalog_crash.served.harm import HARMS
from load_tests.catalog_crash.served.rounds import crash_served
from load_tests.generator.photos import ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays and prints."""
    options = parse(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sightline-crash-", dir=options.work) as work:
        figures, kept = play(Path(work), options)
    print(json.dumps(figures | {"seconds": round(time.monotonic() - began, 1)}))
    return int(not kept)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.catalog_crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--served", action="store_true", help="end a server or its engine under gRPC writers")
    parser.add_argument("--signal", choices={**SIGNALS, **HARMS}, default="mixed", help="what ends, and how")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--products", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the catalog (default: a temporary one)")
    parser.add_argument("--catalog", type=Path, help="whose images are sent (default: the demo's)")
    parser.add_argument("--images", type=Path, default=ROOT / "examples" / "showroom", help="to what its links lead")
    options = parser.parse_args(arguments)
    if options.signal not in SIGNALS and not options.served:
        parser.error(f"--signal {options.signal} needs --served")
    return options


def play(work: Path, options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """The figures of the rounds of the command line, and whether all promises were kept."""
    if not options.served:
        found = crash(work, options.rounds, options.writers, options.products, options.seed, options.signal)
        return asdict(found), not (found.lost or found.damaged or found.not_stopped)
    seeds = read_seeds(options.catalog or demo_catalog(), options.images)
    harms = list(islice(cycle(HARMS[options.signal]), options.rounds))
    served = crash_served(work, seeds, harms, writers=options.writers, products=options.products, seed=options.seed)
    return asdict(served), served.kept


if __name__ == "__main__":
    sys.exit(main())
