"""The progress of `sightline catalog export` and `push`: a bar on a terminal, else lines, on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightline_server.cli.build_report import plain_rows


@contextmanager
def shown_export(total: int, verb: str = "exporting") -> Iterator[Callable[[int], None]]:
    """Shows the number of products, or of what else is counted, that were written."""
    if not sys.stderr.isatty():
        yield plain_rows(total)
        return
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=total or None)
        yield lambda done: bar.update(task, completed=done)
