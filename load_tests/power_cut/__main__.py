"""Cuts the power at random moments of a catalog's writer, and opens what the disk holds then.

    python -m load_tests.power_cut [--groups 400] [--cuts 200] [--seed 0] [--mutation NAME] [--work DIR]
    python -m load_tests.power_cut --folder [--groups 60] ...

The first form cuts at acknowledged groups of writes: the catalog must open, pass `verify`, have every acknowledged
group, and take a write. On the way the catalog is embedded by another embedder again and again; each of these changes
is cut once more in its middle. With --folder, catalogs are created, written and deleted in a folder, and the power is
cut at any system call of a step: the folder must have the catalogs of before the step or of after it, whole. Each cut
is checked for three guesses at what a disk holds beyond what was synchronised. Prints one JSON object; exit code 1 when
something was lost. Needs strace.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence, Set
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from load_tests.catalog_crash.rows import SPEC, product_row
from load_tests.power_cut.disk import Disk
from load_tests.power_cut.folder import cut_folder
from load_tests.power_cut.folder_writer import DELETE_IN_PLACE
from load_tests.power_cut.recording import acknowledged, chosen, faults, traced
from load_tests.power_cut.result import Result
from load_tests.power_cut.trace import calls_of
from load_tests.power_cut.writer import SWITCH_EVERY, contents, embedder_after
from sightline_server.catalog.verify import verify
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.writer import CatalogWriter

START = {f"p{number}": 0 for number in range(20)}
GROUPS, STEPS = 400, 60
SWITCH_CALLS = 150
"""About the system calls of a change of the embedder that change the disk."""
MUTATIONS = ("synchronous-off", "no-folder-sync")


def record(work: Path, groups: int, seed: int, mutation: str) -> tuple[Path, Disk]:
    """Builds a catalog and traces the writer. Returns the trace and the disk as it was at the writer's beginning."""
    root = (work / "root").resolve()
    root.mkdir()
    with CatalogWriter(root / "shop", SPEC, replace=False) as writer:
        writer.add([product_row(product_id, value) for product_id, value in START.items()])
        writer.publish(datetime.now(UTC))
    disk = Disk(root)
    arguments = [str(root / "shop"), str(groups), str(seed), mutation]
    return traced(work, "load_tests.power_cut.writer", arguments), disk


def cut(work: Path, groups: int, cuts: int, seed: int, mutation: str = "") -> Result:
    """Records one run, checks `cuts` of its acknowledgements, and a moment within each change of the embedder."""
    trace, disk = record(work, groups, seed, mutation)
    expected, moments, result = contents(START, groups, seed), chosen(groups, cuts, seed), Result()
    within, left = moments_within(groups, seed), 0
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for call in calls_of(lines):
            disk.apply(call)
            if number := acknowledged(call):
                result.acknowledged, left = number, within.get(number, 0)
                embedders, due = {embedder_after(number)}, number in moments
            else:
                changed, number = disk.changed_by(call), result.acknowledged
                embedders, due = {embedder_after(number), embedder_after(number + 1)}, changed and left == 1
                left -= changed
            if due:
                check = partial(fault_below, allowed=expected[number : number + 2], embedders=embedders)
                result.note(faults(disk, work, check, number), number)
    return result


def moments_within(groups: int, seed: int) -> dict[int, int]:
    """For each group after which the embedder changes, the number of system calls until the power is cut."""
    choice = random.Random(seed)
    return {number: choice.randint(1, SWITCH_CALLS) for number in range(SWITCH_EVERY, groups, SWITCH_EVERY)}


def fault_below(rebuilt: Path, allowed: list[dict[str, int]], embedders: Set[EmbedderSpec]) -> str:
    """The fault of the catalog on a rebuilt disk."""
    return fault(rebuilt / "shop", allowed, embedders)


def fault(shop: Path, allowed: list[dict[str, int]], embedders: Set[EmbedderSpec]) -> str:
    """The fault of a rebuilt catalog, which has one of the contents `allowed` and of `embedders`; empty if none."""
    if values(shop) not in allowed:
        return "its content is not that of the acknowledged groups"
    if (found := open_catalog(shop).facts.embedder.identity) not in {each.identity for each in embedders}:
        return f"its embedder is {found}, expected one of {sorted(each.identity for each in embedders)}"
    bad = [finding.text for finding in verify(shop, all_revisions=True) if not finding.good]
    if bad:
        return "; ".join(bad)
    with LivingCatalog(shop) as living:
        living.upsert([product_row("later", 1)])
        living.checkpoint()
    return "" if "later" in values(shop) else "a later write is not there"


def values(shop: Path) -> dict[str, int]:
    """The value of each product by its id."""
    return {row["id"]: int(row["title"]) for row in open_catalog(shop).display.to_pylist()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Records, cuts and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.power_cut",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", action="store_true", help="create and delete catalogs, and cut within a step")
    parser.add_argument("--groups", type=int, help=f"groups or steps (default: {GROUPS}, with --folder {STEPS})")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutation", default="", choices=["", *MUTATIONS, DELETE_IN_PLACE])
    parser.add_argument("--work", type=Path, help="folder for the files (default: a temporary one)")
    options = parser.parse_args(arguments)
    if options.mutation == DELETE_IN_PLACE and not options.folder:
        parser.error(f"--mutation {DELETE_IN_PLACE} needs --folder")
    play, most = (cut_folder, STEPS) if options.folder else (cut, GROUPS)
    with tempfile.TemporaryDirectory(prefix="sightline-power-", dir=options.work) as work:
        result = play(Path(work), options.groups or most, options.cuts, options.seed, options.mutation)
    print(json.dumps(asdict(result)))
    return int(bool(result.lost))


if __name__ == "__main__":
    sys.exit(main())
