"""Output of `sightline catalog build`: its progress, each problem as it is found, and the summary at the end.

Rule: nothing is decided here. The summary goes to standard output, everything else to standard error.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from sightline_console.terminal import echo, printable
from sightline_server.counting import counted
from sightline_server.domain.image_views import ONE_VIEW

if TYPE_CHECKING:
    from sightline_console.remote_catalog import ReembedProgress
    from sightline_server.ingest.build import BuildReport, Progress

SAME_IMAGES = 10
"""Links to one and the same image from which on the summary mentions it."""

PLAIN_LINES = 10
"""Seconds between two progress reports of a build where there is no terminal."""


@contextmanager
def shown_progress(total: int, unit: str = "rows") -> Iterator["Progress"]:
    """A bar on a terminal, some lines elsewhere, and each problem as it is found. `unit` is what is counted."""
    from sightline_server.ingest.build import Progress

    if not sys.stderr.isatty():
        yield Progress(
            rows=plain_rows(total, unit),
            problem=lambda problem: echo(str(problem), err=True),
            waiting=lambda text: echo(text, err=True),
        )
        return
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding", total=total or None)
        yield Progress(
            rows=lambda done: bar.update(task, completed=done),
            problem=lambda problem: bar.console.print(Text(printable(str(problem)))),
            waiting=lambda text: bar.console.print(Text(printable(text))),
        )


@contextmanager
def shown_operation(unit: str) -> Iterator["ReembedProgress"]:
    """As `shown_progress`, for work whose total is known later."""
    from sightline_console.remote_catalog import ReembedProgress

    if not sys.stderr.isatty():
        yield ReembedProgress(plain_units(unit), lambda text: echo(text, err=True))
        return
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("embedding", total=None)
        yield ReembedProgress(
            lambda done, total: bar.update(task, completed=done, total=total or None),
            lambda text: bar.console.print(Text(printable(text))),
        )


def plain_units(unit: str) -> Callable[[int, int], None]:
    """As `plain_rows`, for a total that is known later, and 0 until then."""
    lines: dict[int, Callable[[int], None]] = {}
    before = -1

    def units(done: int, total: int) -> None:
        nonlocal before
        if total and done != before:
            lines.setdefault(total, plain_rows(total, unit))(done)
            before = done

    return units


def plain_rows(total: int, unit: str = "rows") -> Callable[[int], None]:
    """Says how many rows, or other units, are done, about ten times in all."""
    step = max(1, total // PLAIN_LINES)
    said = 0

    def rows(done: int) -> None:
        nonlocal said
        if done // step > said // step or done == total:
            echo(f"{done} of {total} {unit}", err=True)
            said = done

    return rows


def summary(report: "BuildReport", out: Path, seconds: float) -> Iterator[str]:
    """Human-readable lines: what was built, and what was not."""
    from sightline_server.ingest.guard import MAX_LOST, losses

    skipped = counted(len(report.skipped), "row")
    yield f"{out}: {counted(report.products, 'product')}, {counted(report.images, 'image')}, {skipped} skipped"
    if report.facts.views > ONE_VIEW:
        yield f"  {counted(report.facts.vectors, 'vector')}: images with a plain margin have two views"
    for line in losses(report.losses, MAX_LOST):
        yield f"  WARNING: {line}; the catalog was built anyway"
    if report.same_images >= SAME_IMAGES and report.same_images > MAX_LOST * report.images:
        yield f"  {report.same_images} links lead to the same image; check whether it is a placeholder"
    for kind, count in sorted(report.skipped_by_kind.items(), key=lambda item: item[0].value):
        yield f"  {count} skipped: {kind.value}"
    warnings = Counter(problem.kind for problem in report.problems if not problem.skipped)
    for kind, count in sorted(warnings.items(), key=lambda item: item[0].value):
        yield f"  {count} kept with a warning: {kind.value}"
    yield f"  embedder {report.facts.embedder.identity}, {seconds:.1f} s"
