"""Hit rates of photos that a fit of `sightline adapt` has not seen, before and after it, through a real server.

    python -m load_tests.adapted --grocery DIR [--only TEXT] [--seed 0] [--work DIR]

DIR has feed.csv and queries.csv with several photos of each product, which are searched as whole photos. A catalog of
the feed is built once. Each case takes a copy of it, runs `sightline adapt` on some of the photos, and searches photos
that were not among them, before and after (`sightline eval`):
- 110 and 200 photos without labels of one half of all photos, drawn by chance; the other half is measured, and the
  other way round. Fits leave out photos of people, and need 100 others;
- the first one, two and three photos of each product with labels; all others are measured;
- the first two and three photos of half of the products with labels; all photos of the other products are measured.
Prints a table, then one JSON object. Exit code 1 when a case loses hit@1 or a query failed.
"""

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load_tests.hit_rates.tables import HITS
from load_tests.quality import START_TIMEOUT_S, evaluated, rows_of, sightline
from sightline_client.local_server import LocalServer

UNLABELLED = (110, 200)
"""Photos of people are left out of a fit, which needs 100 others."""
LABELLED = (1, 2, 3)
LABELLED_OF_HALF = (2, 3)
"""One would be less than the 40 photos that a fit needs."""
TABLE = "| photos for the fit | kept | measured | hit@1 | hit@5 | hit@10 |\n|---|---|---|---|---|---|"

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """Photos for a fit and photos to measure, as rows with image and product_id."""

    name: str
    labelled: bool
    fitted: Sequence[Row]
    others: Sequence[Row]


def cases(rows: Sequence[Row], seed: int) -> Iterator[Case]:
    """All cases from the rows of queries.csv."""
    chance = random.Random(seed)
    drawn = chance.sample(rows, len(rows))
    halves = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    for count in UNLABELLED:
        for first, (own, other) in enumerate((halves, halves[::-1])):
            yield Case(f"{count} without labels, half {first + 1}", False, own[:count], other)
    by_product = defaultdict[str, list[Row]](list)
    for row in rows:
        by_product[row["product_id"]].append(row)
    for count in LABELLED:
        yield Case(
            f"{count} labelled a product",
            True,
            [row for each in by_product.values() for row in each[:count]],
            [row for each in by_product.values() for row in each[count:]],
        )
    shown = set(chance.sample(sorted(by_product), len(by_product) // 2))
    for count in LABELLED_OF_HALF:
        yield Case(
            f"{count} labelled of half of the products; the other products",
            True,
            [row for product in sorted(shown) for row in by_product[product][:count]],
            [row for product, each in by_product.items() if product not in shown for row in each],
        )


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """A table that `sightline eval` and `sightline adapt --labels` read."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "product_id"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def fit(case: Case, catalog: Path, place: Path) -> dict[str, Any]:
    """The report of `sightline adapt` on its fit to the catalog. Raises `CalledProcessError` when it fails."""
    if case.labelled:
        given = ["--labels", str(write_rows(place / "labels.csv", case.fitted))]
    else:
        photos = place / "photos"
        photos.mkdir()
        for number, row in enumerate(case.fitted):
            shutil.copy(row["image"], photos / f"{number:04d}{Path(row['image']).suffix}")
        given = ["--photos", str(photos), "--regions", "whole"]
    program = [str(Path(sys.executable).with_name("sightline")), "adapt", str(catalog), *given, "--json"]
    done = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout.strip():  # 1: no real gain, so nothing is kept
        raise subprocess.CalledProcessError(done.returncode, program)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def searched(catalog: Path, queries: Path) -> dict[str, Any]:
    """The report of `sightline eval` of whole photos, by a server of the catalog."""
    with LocalServer(catalog=catalog, start_timeout_s=START_TIMEOUT_S) as server:
        return evaluated(server, queries, "whole")


def measured(case: Case, catalog: Path, place: Path) -> dict[str, Any]:
    """The reports before and after, and whether the fit was kept."""
    queries = write_rows(place / "others.csv", case.others)
    before = searched(catalog, queries)
    adapted = Path(shutil.copytree(catalog, place / "catalog"))
    return {"kept": fit(case, adapted, place)["kept"], "before": before, "after": searched(adapted, queries)}


def line_of(case: Case, found: dict[str, Any]) -> str:
    """The line of the table."""
    hits = " | ".join(f"{found['before'][hit]:.3f} -> {found['after'][hit]:.3f}" for hit in HITS)
    return f"| {case.name} | {'yes' if found['kept'] else 'no'} | {found['after']['n']} | {hits} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.adapted", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grocery", type=Path, required=True, help="folder with feed.csv, queries.csv and images")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the cases that have TEXT in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--work", type=Path, help="folder for the catalogs (default: a temporary one)")
    given = parser.parse_args(arguments)
    rows = [
        row | {"image": str((given.grocery / row["image"]).resolve())} for row in rows_of(given.grocery / "queries.csv")
    ]
    report = dict[str, Any]()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.work)))
        catalog = work / "catalog"
        sightline("catalog", "build", str(given.grocery / "feed.csv"), "--out", str(catalog))
        print(TABLE, flush=True)
        chosen = [case for case in cases(rows, given.seed) if given.only in case.name]
        for number, case in enumerate(chosen):
            place = work / f"case-{number}"
            place.mkdir()
            report[case.name] = measured(case, catalog, place)
            print(line_of(case, report[case.name]), flush=True)
    print(json.dumps(report))
    failed = any(each[when]["failed"] for each in report.values() for when in ("before", "after"))
    return int(failed or any(each["after"]["hit@1"] < each["before"]["hit@1"] for each in report.values()))


if __name__ == "__main__":
    raise SystemExit(main())
