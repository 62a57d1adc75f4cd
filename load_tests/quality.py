"""Figures of the answers' quality through a real server, for the record, and a gate for what changes them.

    python -m load_tests.quality [--grocery DIR [--local-features] [--printed-text]] [--views N] [--record] [--work DIR]
The showroom is searched in three views: objects in the truth's boxes, the whole path with detection, and the recall of
the detector. DIR, where it is given, has feed.csv and queries.csv with one object a photo, and is searched as whole
photos; with --local-features once more, in a catalog that keeps those, and with --printed-text in one that keeps them
and the text of images, by that text as well. --views 2 builds the catalogs with two views of each image. Prints the
table, then one JSON object. Exit
code 1 when a figure of the showroom lies more than 0.01 below the record in docs/record/quality.json, or a query
failed; with --record, table and figures become the record then as well.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from load_tests.generator.photos import ROOT
from load_tests.observe.machine import tree_cpu_s
from load_tests.observe.scrapes import scrape
from sightline_client.local_server import LocalServer

SHOWROOM = ROOT / "examples/showroom"
RECORD = ROOT / "docs/record"
MOST_LOST = 0.01
START_TIMEOUT_S = 600.0
"""A busy machine takes minutes to start a server."""
HITS = ("hit@1", "hit@5", "hit@10")
GATED = ("recall", "truth_boxes_hit@1", "truth_boxes_hit@5", "kind_hit@1", "whole_path_hit@1", "whole_path_hit@5")
"""Figures of `examples/showroom/measure.py` that may not fall."""
HEAD = f"""# Quality of the answers

Made by `make quality`, through the server: {{when}}, {{commit}}, detector {{detector}}, embedder
{{embedder}}. A figure of the showroom that lies more than {MOST_LOST} below this record fails the next
run. The standard error of a figure of the 95 objects is about 0.04, of 405 photos 0.025.

| queries | number | hit@1 | hit@5 | hit@10 | refused as people | ms of a call, p50 | CPU ms of a call |
|---|---|---|---|---|---|---|---|
"""


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


def row(name: str, report: Mapping[str, Any]) -> str:
    """The line of the table for one set of queries."""
    hits = " | ".join(f"{report[hit]:.3f}" for hit in HITS)
    times = f"{report['stages']['total_ms']['p50']:.0f} | {report['cpu_ms']:.0f}"
    return f"| {name} | {report['n']} | {hits} | {report['person']} | {times} |\n"


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


def together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The report of several sets of queries as one; times are the mean of the sets', by their numbers."""
    count = sum(each["n"] for each in reports)
    found: dict[str, Any] = {hit: sum(each[hit] * each["n"] for each in reports) / count for hit in HITS}
    p50 = sum(each["stages"]["total_ms"]["p50"] * each["n"] for each in reports) / count
    cpu_ms = sum(each["cpu_ms"] * each["n"] for each in reports) / count
    totals = {key: sum(each[key] for each in reports) for key in ("n", "person", "failed")}
    return found | totals | {"stages": {"total_ms": {"p50": p50}}, "cpu_ms": cpu_ms}


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
) -> tuple[list[dict[str, Any]], str]:
    """The reports of the whole photos of `folder` by kind, and the lines of the table, which begin with `what`."""
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
    lines = [row(f"{what}, {kind}", each) for kind, each in reports.items()]
    return [*reports.values()], row(f"{what}, all", together([*reports.values()])) + "".join(lines)


def lost(figures: Mapping[str, float], record: Mapping[str, float]) -> list[str]:
    """Sentences about the figures that lie too far below the record."""
    return [
        f"{name}: {figures[name]:.4f}, and the record is {record[name]:.4f}"
        for name in GATED
        if name in record and figures[name] < record[name] - MOST_LOST
    ]


def recall_text(measured: Mapping[str, Any]) -> str:
    """The recall of the detector, human-readable."""
    kinds = ", ".join(f"{kind} {share}" for kind, share in measured["recall_by_kind"].items())
    return (
        f"\nThe detector finds {measured['recall']:.3f} of the {measured['objects_visible']} objects of the showroom "
        f"that are visible at 60 % or more, at an overlap of one half: {kinds}.\n"
    )


def commit() -> str:
    """The commit of this checkout."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and compares with the record."""
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
    parser.add_argument("--views", type=int, choices=(1, 2), default=1, help="views of each catalog image")
    parser.add_argument("--record", action="store_true", help="write docs/record/quality.md and quality.json")
    parser.add_argument("--work", type=Path, help="folder for the catalogs (default: a temporary one)")
    given = parser.parse_args(arguments)
    with ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measured, reports, lines, found = showroom(work, views=given.views)
        runs = [(False, False)] + [(True, False)] * given.local_features + [(False, True)] * given.printed_text
        runs += [(True, True)] * (given.local_features and given.printed_text)
        for compared, read in runs:
            if given.grocery:
                more, further = grocery(
                    given.grocery, work, views=given.views, local_features=compared, printed_text=read
                )
                reports, lines = [*reports, *more], lines + further
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    page = HEAD.format(when=when, commit=commit(), **found) + lines + recall_text(measured)
    figures = {name: measured[name] for name in GATED}
    kept = RECORD / "quality.json"
    worse = lost(figures, json.loads(kept.read_text()) if kept.exists() else {})
    failed = sum(each["failed"] for each in reports)
    if given.record:
        kept.write_text(json.dumps(figures, indent=2) + "\n")
        (RECORD / "quality.md").write_text(page)
    print(page)
    print(json.dumps({"figures": figures, "lost": worse, "failed": failed, **found}))
    return 1 if worse or failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
