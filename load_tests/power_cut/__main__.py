"""Cuts the power at random acknowledged writes of a catalog, and opens what the disk holds then.

    python -m load_tests.power_cut [--groups 400] [--cuts 200] [--seed 0] [--mutation NAME] [--work DIR]
Rule: at each cut the catalog must open, pass `verify`, have every acknowledged group, and take a write. Each cut is
checked for three guesses at what a disk holds beyond what was synchronised. Prints one JSON object; exit code 1 when
something was lost. Needs strace.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from load_tests.catalog_crash.rows import SPEC, product_row
from load_tests.power_cut.disk import Disk, Guess
from load_tests.power_cut.trace import calls_of, command
from load_tests.power_cut.writer import contents
from sightline_server.catalog.verify import verify
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.writer import CatalogWriter

ACKNOWLEDGED = b"ack "
START = {f"p{number}": 0 for number in range(20)}
TIMEOUT_S = 600.0


@dataclass
class Result:
    """The outcome of all cuts; `lost` counts cuts at which something was missing or could not be opened."""

    acknowledged: int = 0
    cuts: int = 0
    rebuilt: int = 0
    lost: int = 0


def record(work: Path, groups: int, seed: int, mutation: str) -> tuple[Path, Disk]:
    """Builds a catalog and traces the writer. Returns the trace and the disk as it was at the writer's beginning."""
    root = (work / "root").resolve()
    root.mkdir()
    with CatalogWriter(root / "shop", SPEC, replace=False) as writer:
        writer.add([product_row(product_id, value) for product_id, value in START.items()])
        writer.publish(datetime.now(UTC))
    disk, trace = Disk(root), work / "trace"
    strace = shutil.which("strace")
    if strace is None:
        raise FileNotFoundError("strace is not on PATH")
    arguments = [sys.executable, "-m", "load_tests.power_cut.writer", str(root / "shop"), str(groups), str(seed)]
    arguments += [mutation] if mutation else []
    subprocess.run(command(strace, str(trace), arguments), check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return trace, disk


def cut(work: Path, groups: int, cuts: int, seed: int, mutation: str = "") -> Result:
    """Records one run and checks `cuts` of its acknowledgements."""
    trace, disk = record(work, groups, seed, mutation)
    expected = contents(START, groups, seed)
    chosen = set(random.Random(seed).sample(range(1, groups + 1), min(cuts, groups)))
    result = Result()
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for call in calls_of(lines):
            disk.apply(call)
            if call.name != "write" or call.begun or not call.arguments[1].startswith(ACKNOWLEDGED):
                continue
            result.acknowledged = int(call.arguments[1].split()[1])
            if result.acknowledged in chosen:
                result.cuts += 1
                for guess in Guess:
                    check(disk, work, guess, expected, result)
    return result


def check(disk: Disk, work: Path, guess: Guess, expected: list[dict[str, int]], result: Result) -> None:
    """Rebuilds the disk by one guess and counts what is wrong."""
    rebuilt = work / "rebuilt"
    number = result.acknowledged
    disk.write_to(rebuilt, guess, number)
    try:
        wrong = fault(rebuilt / "shop", expected[number : number + 2])
    except SightlineError as error:
        wrong = error.message
    finally:
        shutil.rmtree(rebuilt)
    result.rebuilt += 1
    if wrong:
        result.lost += 1
        print(f"group {number}, {guess.value}: {wrong}", file=sys.stderr)


def fault(shop: Path, allowed: list[dict[str, int]]) -> str:
    """The fault of a rebuilt catalog, which has one of the contents `allowed`; empty when nothing is."""
    if values(shop) not in allowed:
        return "its content is not that of the acknowledged groups"
    bad = [finding.text for finding in verify(shop, all_revisions=True) if not finding.good]
    if bad:
        return "; ".join(bad)
    with LivingCatalog(shop) as living:
        living.upsert([product_row("later", 1)])
        living.checkpoint()
    return "" if "later" in values(shop) else "a later write is not there"


def values(shop: Path) -> dict[str, int]:
    """The value of each product by its id."""
    return {row["id"]: int(row["title"]) for row in open_catalog(shop, SPEC).display.to_pylist()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Records, cuts and prints."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.power_cut", description=__doc__)
    parser.add_argument("--groups", type=int, default=400)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutation", default="", choices=["", "synchronous-off", "no-folder-sync"])
    parser.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sightline-power-", dir=options.work) as work:
        result = cut(Path(work), options.groups, options.cuts, options.seed, options.mutation)
    print(json.dumps(asdict(result)))
    return int(bool(result.lost))


if __name__ == "__main__":
    sys.exit(main())
