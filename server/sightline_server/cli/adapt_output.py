"""Output of `sightline adapt`: what was tried, and what came of it.

Rule: nothing is decided here. What a program reads (`--json`) is alone on standard output.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline_console.terminal import echo, echo_lines
from sightline_server.cli.adapter_text import content_of, judging_lines, measured_lines, weighing_lines
from sightline_server.cli.catalog_changes import show_revision

if TYPE_CHECKING:
    from sightline_server.catalog.revisions import Revision
    from sightline_server.cli.adapt_ranking import RankingFit
    from sightline_server.index.adaptation import Adaptation
    from sightline_server.ingest.adapting.choosing import Choice

NOTHING = "no adapter is stored: what was tried brings no real gain on photos that it was not fitted from"
MIXED_UP = (
    "the labels fit the photos no better than labels by chance (as well in {chance:.0%} of cases), so no adapter is "
    "fitted; check that each product_id is that of the product in its photo"
)
NO_ADAPTER = "no adapter is kept: none brings a real gain on photos that it was not fitted from"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The outcome: everything that was tried, the part that is kept, and its revision if it is stored."""

    choice: "Choice"
    ranking: "RankingFit"
    kept: "Adaptation"
    revision: "Revision | None"

    def facts(self) -> dict[str, Any]:
        """The outcome as plain JSON."""
        report: dict[str, Any] = {"tried": [each.facts() for each in self.choice.tried]}
        if self.choice.labels is not None:
            report["labels"] = {"fit": self.choice.labels_fit, "chance": round(self.choice.labels, 4)}
        if self.ranking.weighing is not None:
            report["weights"] = self.ranking.weighing.facts()
        if self.ranking.judging is not None:
            report["verdict"] = self.ranking.judging.facts()
        if self.choice.adapter is not None:
            report["adapter"] = dict(self.choice.adapter.facts)
        if self.revision is not None:
            report |= {"revision": self.revision.name, "sha256": self.revision.adapter}
        return report


def show_removed(revision: "Revision", catalog: Path, *, as_json: bool) -> None:
    """Prints the revision without what was fitted."""
    if as_json:
        echo_lines(json.dumps({"removed": True, "revision": revision.name}))
        return
    echo("adapter, weights and verdict are removed; vectors are searched as they are")
    show_revision(revision, catalog)


def show(outcome: Outcome, catalog: Path, *, dry_run: bool, as_json: bool) -> None:
    """Prints what was tried and what came of it."""
    kept = outcome.kept
    if as_json:
        echo_lines(json.dumps({"kept": not kept.is_empty, "dry_run": dry_run, **outcome.facts()}))
        return
    if outcome.choice.labels is not None and not outcome.choice.labels_fit:
        echo(MIXED_UP.format(chance=outcome.choice.labels), err=True)
    for tried in outcome.choice.tried:
        for line in measured_lines(tried.facts()):
            echo(line)
    if outcome.ranking.weighing is not None:
        for line in weighing_lines(outcome.ranking.weighing.facts()):
            echo(line)
    if outcome.ranking.judging is not None:
        for line in judging_lines(outcome.ranking.judging.facts()):
            echo(line)
    if kept.is_empty:
        echo(NOTHING, err=True)
        return
    if kept.adapter is None:
        echo(NO_ADAPTER, err=True)
    if outcome.revision is None:
        echo(f"dry run: {content_of(kept)} would be stored")
    else:
        echo(f"stored      {content_of(kept)}, adapter {outcome.revision.adapter[:12]}")
        show_revision(outcome.revision, catalog)
