"""Figures of the answers' quality through a real server, for the record, and a gate for what changes them.

    python -m load_tests.quality [--grocery DIR [--local-features] [--printed-text] [--only-grocery]] [--views N]
                                 [--record] [--work DIR]
The showroom is searched in three views: objects in the truth's boxes, the whole path with detection, and the recall of
the detector. DIR, where it is given, has feed.csv and queries.csv with one object a photo, and is searched as whole
photos; with --local-features once more, in a catalog that keeps those, and with --printed-text in one that keeps them
and the text of images, by that text as well. --views 2 builds the catalogs with two views of each image. Prints the
tables, then one JSON object. Exit code 1 when a figure of the showroom lies more than 0.01 below the record in
docs/record/quality.json, or a query failed. With --record the tables become sections of docs/record/quality.md as
well, and the figures the record; all that others wrote into these files stays (`hit_rates.record`). With --only-grocery
the showroom is neither searched nor recorded.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from load_tests.generator.photos import ROOT
from load_tests.hit_rates.record import check_page, write_figures, write_sections
from load_tests.hit_rates.tables import MOST_LOST, Run, recall_text, row, sections, together
from load_tests.observe.machine import tree_cpu_s
from load_tests.observe.scrapes import scrape
from sightline_client.local_server import LocalServer

SHOWROOM = ROOT / "examples/showroom"
RECORD = ROOT / "docs/record"
START_TIMEOUT_S = 600.0
"""A busy machine takes minutes to start a server."""
GATED = ("recall", "truth_boxes_hit@1", "truth_boxes_hit@5", "kind_hit@1", "whole_path_hit@1", "whole_path_hit@5")
"""Figures of `examples/showroom/measure.py` that may not fall."""


def sightline(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """The output of the command with `env` added to the environment. Raises `CalledProcessError` when it fails."""
    program = [str(Path(sys.executable).with_name("sightline")), *arguments]
    added = {**os.environ, **(env or {})}
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=added).stdout


def evaluated(server: LocalServer, queries: Path, regions: str) -> dict[str, Any]:
    """The report of `sightline eval`, with the CPU milliseconds of a call that server and engine took."""
    begun = tree_cpu_s(server.pid)
    found = sightline(
        "eval", str(queries), "--target", server.target, "--regions", regions, "--in-flight", "2", "--json"
    )
    report: dict[str, Any] = json.loads(found)
    return report | {"cpu_ms": 1e3 * (tree_cpu_s(server.pid) - begun) / report["n"]}


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def by_kind(folder: Path, work: Path) -> dict[str, Path]:
    """A file of queries for each kind: the first part of the product type in feed.csv of `folder`."""
    kinds = {each["id"]: each["product_type"].split(">")[0].strip() for each in rows_of(folder / "feed.csv")}
    parts = defaultdict[str, list[dict[str, str]]](list)
    for each in rows_of(folder / "queries.csv"):
        parts[kinds[each["product_id"]]].append(each | {"image": str((folder / each["image"]).resolve())})
    found = {}
    for number, (kind, rows) in enumerate(sorted(parts.items())):
        found[kind] = work / f"queries-{number}.csv"
        with found[kind].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["image", "product_id"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return found


def models(metrics_url: str) -> dict[str, str]:
    """The identities of the detector and the embedder, as `/metrics` has them."""
    [labels] = [dict(labels) for name, labels in scrape(metrics_url).samples if name == "sightline_build_info"]
    return {role: labels[role] for role in ("detector", "embedder")}


def showroom(
    work: Path, env: Mapping[str, str] | None = None, views: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]], str, dict[str, str]]:
    """The figures of `measure.py`, the reports, their lines of the table, and the models that answered."""
    catalog = work / "showroom"
    options = ("--strict", "--views", str(views))
    sightline("catalog", "build", str(SHOWROOM / "feed.csv"), "--out", str(catalog), *options, env=env)
    with LocalServer(catalog=catalog, env=env, start_timeout_s=START_TIMEOUT_S) as server:
        command = [sys.executable, str(SHOWROOM / "measure.py"), "--target", server.target]
        # Exit code 1 says that a goal was missed, which the record is stricter about.
        measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
        boxes = evaluated(server, SHOWROOM / "queries.csv", "box")
        path = evaluated(server, SHOWROOM / "queries_whole_path.csv", "detect")
        found = models(server.metrics_url)
    lines = row("showroom, truth's boxes", boxes) + row("showroom, whole path", path)
    return measured, [boxes, path], lines, found


def grocery(
    folder: Path,
    work: Path,
    *,
    views: int = 1,
    local_features: bool = False,
    printed_text: bool = False,
    what: str = "",
    env: Mapping[str, str] | None = None,
) -> tuple[list[dict[str, Any]], str, dict[str, str]]:
    """The reports of the whole photos of `folder` by kind, their lines, which begin with `what`, and the models."""
    catalog = work / f"grocery-{local_features:d}{printed_text:d}"
    options = ["--views", str(views), *(["--local-features"] if local_features or printed_text else [])]
    compared = [name for name, on in (("local features", local_features), ("printed text", printed_text)) if on]
    what = what or ", ".join(["whole photos", *compared])
    if printed_text:  # it is kept with local features, which may be left out of the comparison
        used = {
            "SIGHTLINE_PRINTED_TEXT__ENABLED": "true",
            "SIGHTLINE_LOCAL_FEATURES__ENABLED": str(local_features).lower(),
        }
        env = {**(env or {}), **used}
    sightline("catalog", "build", str(folder / "feed.csv"), "--out", str(catalog), *options, env=env)
    with LocalServer(catalog=catalog, env=env, start_timeout_s=START_TIMEOUT_S) as server:
        reports = {kind: evaluated(server, each, "whole") for kind, each in by_kind(folder, work).items()}
        found = models(server.metrics_url)
    lines = [row(f"{what}, {kind}", each) for kind, each in reports.items()]
    return [*reports.values()], row(f"{what}, all", together([*reports.values()])) + "".join(lines), found


def lost(figures: Mapping[str, float], record: Mapping[str, float]) -> list[str]:
    """Sentences about the figures that lie too far below the record."""
    return [
        f"{name}: {figures[name]:.4f}, and the record is {record[name]:.4f}"
        for name in GATED
        if name in record and figures[name] < record[name] - MOST_LOST
    ]


def measured(given: argparse.Namespace, work: Path) -> Run:
    """All that the options ask for."""
    run = Run()
    if not given.only_grocery:
        of_showroom, run.reports, lines, run.models = showroom(work, views=given.views)
        run.of_showroom = lines + recall_text(of_showroom)
        run.figures = {name: of_showroom[name] for name in GATED}
    runs = [(False, False)] + [(True, False)] * given.local_features + [(False, True)] * given.printed_text
    runs += [(True, True)] * (given.local_features and given.printed_text)
    for compared, read in runs if given.grocery else ():
        more, lines, run.models = grocery(
            given.grocery, work, views=given.views, local_features=compared, printed_text=read
        )
        run.reports, run.of_groceries = [*run.reports, *more], run.of_groceries + lines
    return run


def options() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--grocery", type=Path, help="folder with feed.csv, queries.csv and their images")
    parser.add_argument(
        "--local-features", action="store_true", help="search the photos of --grocery with them as well"
    )
    parser.add_argument(
        "--printed-text", action="store_true", help="search the photos of --grocery by printed text as well"
    )
    parser.add_argument("--only-grocery", action="store_true", help="leave the showroom out")
    parser.add_argument("--views", type=int, choices=(1, 2), default=1, help="views of each catalog image")
    parser.add_argument("--record", action="store_true", help="write docs/record/quality.md and quality.json")
    parser.add_argument("--work", type=Path, help="folder for the catalogs (default: a temporary one)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and compares with the record."""
    parser = options()
    given = parser.parse_args(arguments)
    if given.only_grocery and not given.grocery:
        parser.error("--only-grocery needs --grocery")
    page, kept = RECORD / "quality.md", RECORD / "quality.json"
    if given.record:
        check_page(page)
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = measured(given, work)
    worse = lost(run.figures, json.loads(kept.read_text()) if kept.exists() else {})
    tables = sections(run, given)
    if given.record:
        write_sections(page, tables)
        if run.has_default_models and run.figures:
            write_figures(kept, run.figures)
    print("\n".join(tables.values()))
    print(json.dumps({"figures": run.figures, "lost": worse, "failed": run.failed, **run.models}))
    return 1 if worse or run.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
