"""`sightline catalog export`: a catalog as a feed.

Rule: it only reads, and runs next to a writer and a server. Exit code 0 when the file was written, 1 when it could not
be (a full disk, a revision without content), 2 when what was asked for is wrong or the catalog is damaged, 130 after
Ctrl-C; only 0 leaves a file.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from sightline_console.terminal import echo
from sightline_server.cli.catalog_failures import failures
from sightline_server.cli.catalog_revisions import number_of
from sightline_server.cli.export_progress import shown_export
from sightline_server.counting import counted
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.exports.formats import ExportFormat, chosen_format

STANDARD_OUTPUT = "-"


def export(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="The catalog's folder.")],
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="File to write: .csv, .tsv, .jsonl, .xml or .parquet, also with .gz; - is standard output.",
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option(help="Number or name of a revision (default: the content of now, with what is in the log)."),
    ] = None,
    feed_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Format of the feed (default: by the name of FILE).")
    ] = None,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            help="Write the embeddings and their embedder too (jsonl, parquet), for: catalog upsert --embedded.",
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the file that is at --out.")] = False,
) -> None:
    """Write the products of a catalog as a feed that build, upsert and other tools read.

    Every field of a product is kept. The file appears only when it is complete. The catalog may be written to and
    served meanwhile.
    """
    # Late, so that `--help` does not load the index's libraries.
    from sightline_server.index.stored_rows import stored_rows
    from sightline_server.ingest.exports.export import ExportOptions, export_catalog

    with failures("no file was written"), ended_by_sigterm():
        chosen = chosen_format(out, feed_format, embeddings=embeddings)
        refuse_terminal(out, chosen)
        stored = stored_rows(catalog, None if revision is None else number_of(revision))
        if revision is not None and not revision.isdigit() and revision != stored.revision:
            message = f"revision {number_of(revision)} is {stored.revision}, not {revision}"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        started = time.monotonic()
        options = ExportOptions(out, chosen, embeddings=embeddings, replace=replace)
        with shown_export(stored.facts.products) as progress:
            report = export_catalog(stored, options, progress)
    to_stdout = out == STANDARD_OUTPUT
    name = "standard output" if to_stdout else out
    seconds = time.monotonic() - started
    echo(
        f"{name}: {counted(report.products, 'product')}, {counted(report.images, 'image')}, {seconds:.1f} s",
        err=to_stdout,
    )
    echo(f"revision    {report.revision}", err=to_stdout)


def refuse_terminal(out: str, chosen: ExportFormat) -> None:
    """Raises `SightlineError` where binary data would be written to a terminal."""
    if out == STANDARD_OUTPUT and chosen is ExportFormat.PARQUET and sys.stdout is not None and sys.stdout.isatty():
        message = "Parquet is not written to a terminal; name a file with --out, or use a pipe"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that its partial file is removed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise asyncio.CancelledError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
