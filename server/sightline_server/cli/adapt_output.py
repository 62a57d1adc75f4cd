"""Output of `sightline adapt`: what was tried, and what came of it.

Rule: nothing is decided here. What a program reads (`--json`) is alone on standard output.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline_console.terminal import echo, echo_lines
from sightline_server.cli.adapter_text import measured_lines
from sightline_server.cli.catalog_changes import show_revision

if TYPE_CHECKING:
    from sightline_server.catalog.revisions import Revision
    from sightline_server.ingest.adapting.choosing import Choice

NOTHING = "no adapter is stored: what was tried brings no real gain on photos that it was not fitted from"


def show_removed(revision: "Revision", catalog: Path, *, as_json: bool) -> None:
    """Prints the revision without an adapter."""
    if as_json:
        echo_lines(json.dumps({"removed": True, "revision": revision.name}))
        return
    echo("the adapter is removed; vectors are searched as they are")
    show_revision(revision, catalog)


def show(choice: "Choice", revision: "Revision | None", catalog: Path, *, dry_run: bool, as_json: bool) -> None:
    """Prints what was tried and what came of it."""
    tried = [each.facts() for each in choice.tried]
    if as_json:
        report: dict[str, Any] = {"kept": choice.adapter is not None, "dry_run": dry_run, "tried": tried}
        if choice.adapter is not None:
            report["adapter"] = dict(choice.adapter.facts)
        if revision is not None:
            report |= {"revision": revision.name, "sha256": revision.adapter}
        echo_lines(json.dumps(report))
        return
    for facts in tried:
        for line in measured_lines(facts):
            echo(line)
    if choice.adapter is None:
        echo(NOTHING, err=True)
    elif revision is None:
        echo(f"dry run: {choice.adapter.facts['method']} would be stored")
    else:
        echo(f"stored      {choice.adapter.facts['method']}, adapter {revision.adapter[:12]}")
        show_revision(revision, catalog)
