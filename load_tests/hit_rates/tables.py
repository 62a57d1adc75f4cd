"""The tables of docs/record/quality.md, with a line for each set of queries and a head that says how they were made."""

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from load_tests.generator.photos import ROOT
from sightline_models.offered import SETS

MOST_LOST = 0.01

HITS = ("hit@1", "hit@5", "hit@10")
TABLE = (
    "| queries | number | hit@1 | hit@5 | hit@10 | refused as people | ms of a call, p50 "
    "| of these local features, printed text | CPU ms of a call |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
COMPARISONS = ("local_features_ms", "printed_text_ms")
"""Stages with separate figures in the table, in the order of that column."""


def row(name: str, report: Mapping[str, Any]) -> str:
    """The line of the table for one set of queries."""
    hits = " | ".join(f"{report[hit]:.3f}" for hit in HITS)
    stages = report["stages"]
    compared = ", ".join(f"{stages[name]['p50']:.0f}" for name in COMPARISONS)
    times = f"{stages['total_ms']['p50']:.0f} | {compared} | {report['cpu_ms']:.0f}"
    skipped = f" ({report['skipped']} without a comparison, for lack of time)" if report["skipped"] else ""
    return f"| {name}{skipped} | {report['n']} | {hits} | {report['person']} | {times} |\n"


def together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The report of several sets of queries as one; times are the mean of the sets', by their numbers."""
    count = sum(each["n"] for each in reports)
    found: dict[str, Any] = {hit: sum(each[hit] * each["n"] for each in reports) / count for hit in HITS}
    stages = {
        name: {"p50": sum(each["stages"][name]["p50"] * each["n"] for each in reports) / count}
        for name in ("total_ms", *COMPARISONS)
    }
    cpu_ms = sum(each["cpu_ms"] * each["n"] for each in reports) / count
    totals = {key: sum(each[key] for each in reports) for key in ("n", "person", "failed", "skipped")}
    return found | totals | {"stages": stages, "cpu_ms": cpu_ms}


def recall_text(measured: Mapping[str, Any]) -> str:
    """The recall of the detector, human-readable."""
    kinds = ", ".join(f"{kind} {share}" for kind, share in measured["recall_by_kind"].items())
    return (
        f"\nThe detector finds {measured['recall']:.3f} of the {measured['objects_visible']} objects of the showroom "
        f"that are visible at 60 % or more, at an overlap of one half: {kinds}.\n"
    )


@dataclass(slots=True)
class Run:
    """The reports of all queries, lines of tables of the showroom and of the groceries, and the models."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    of_showroom: str = ""
    of_groceries: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    """Those of the gate; empty without the showroom."""

    @property
    def failed(self) -> int:
        """Queries that failed."""
        return sum(each["failed"] for each in self.reports)

    @property
    def names(self) -> tuple[str, str]:
        """The names of the detector and the embedder, without digests."""
        return self.models["detector"].partition("@")[0], self.models["embedder"].partition("@")[0]

    @property
    def has_default_models(self) -> bool:
        """True where the record of the gate may be replaced."""
        return self.names == tuple(model.name for model in SETS["default"])


def sections(run: Run, given: argparse.Namespace) -> dict[str, str]:
    """The sections of docs/record/quality.md by name: tables with a head that says how they were made.

    Those of other models than the default ones have separate names, so that both stay.
    """
    models = "detector {detector}, embedder\n{embedder}".format(**run.models)
    made = f"{datetime.now(UTC):%Y-%m-%d}, {commit()}, {models}."
    others = "" if run.has_default_models else ", " + ", ".join(run.names)
    options = " LOCAL_FEATURES=1" * given.local_features + " PRINTED_TEXT=1" * given.printed_text
    options += f" VIEWS={given.views}" * (given.views > 1)
    parts = {
        "showroom": (
            f"The showroom by `make quality`, through the server: {made} A figure of the default models that lies "
            f"more than {MOST_LOST} below this record "
            f"fails the next run. The standard error of a figure of the 95 "
            f"objects is about 0.04.\n\n{TABLE}{run.of_showroom}"
        ),
        "groceries": (
            f"Whole photos of groceries by `make quality GROCERY=DIR{options}`, through the server: {made} The "
            f"standard error of a figure of 405 photos is 0.025.\n\n{TABLE}{run.of_groceries}"
        ),
    }
    measured_parts = {"showroom": run.of_showroom, "groceries": run.of_groceries}
    return {name + others: text for name, text in parts.items() if measured_parts[name]}


def commit() -> str:
    """The commit of this checkout."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"
