"""Power cuts while catalogs of a folder are created, written and deleted, at any system call of a step.

Rule: after a cut the folder opens and has the catalogs as they were before the step or as they are after it, each of
them whole; nothing of an unfinished step is left, and catalogs can be created, written and deleted.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from load_tests.catalog_crash.rows import SPEC, product_row
from load_tests.power_cut.disk import Disk
from load_tests.power_cut.folder_writer import Contents, contents
from load_tests.power_cut.recording import acknowledged, chosen, faults, traced
from load_tests.power_cut.result import Result
from load_tests.power_cut.trace import calls_of
from sightline_server.catalog.verify import verify
from sightline_server.index.catalog import open_catalog
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.living import LivingCatalog

LATER = "later"


def cut_folder(work: Path, steps: int, cuts: int, seed: int, mutation: str = "") -> Result:
    """Records one run, and checks `cuts` of the moments at which its folder changes."""
    root = (work / "root").resolve()
    root.mkdir()
    disk, expected, result = Disk(root), contents(steps, seed), Result()
    trace = traced(work, "load_tests.power_cut.folder_writer", [str(root), str(steps), str(seed), mutation])
    with trace.open(encoding="utf-8", errors="replace") as lines:
        calls = list(calls_of(lines))
    moments = chosen(sum(disk.changed_by(call) for call in calls), cuts, seed)
    moment = 0
    for call in calls:
        disk.apply(call)
        result.acknowledged = acknowledged(call) or result.acknowledged
        moment += (changes := disk.changed_by(call))
        if changes and moment in moments:
            check = partial(fault, allowed=expected[result.acknowledged : result.acknowledged + 2])
            result.note(faults(disk, work, check, moment), moment)
    return result


def fault(root: Path, allowed: Sequence[Contents]) -> str:
    """The fault of a rebuilt folder, which has one of the contents `allowed`; empty when there is none."""
    with CatalogsFolder(root) as folder:
        found = {name: values(path) for name, path in folder.catalogs().items()}
        if found not in allowed:
            return f"it has {found}, and may have {allowed}"
        left = sorted({each.name for each in root.iterdir()} - {*found, ".lock"})
        if left:
            return f"left behind: {left}"
        for path in folder.catalogs().values():
            if bad := [finding.text for finding in verify(path, all_revisions=True) if not finding.good]:
                return f"{path.name}: {'; '.join(bad)}"
            write(path)
        write(folder.create(LATER, SPEC))
        folder.delete(folder.set_aside(LATER))
        later = {name: values(path) for name, path in folder.catalogs().items()}
        return "" if later == {name: {**found[name], LATER: 1} for name in found} else f"after writes it has {later}"


def write(path: Path) -> None:
    """Writes a product and a revision of the catalog at `path`."""
    with LivingCatalog(path) as living:
        living.upsert([product_row(LATER, 1)])
        living.checkpoint()


def values(path: Path) -> dict[str, int]:
    """The value of each product by its id."""
    return {row["id"]: int(row["title"]) for row in open_catalog(path, SPEC, may_be_empty=True).display.to_pylist()}
