"""`sightline audit verify | tail | receipt`: reads the audit log of a server.

Rule: it reads only, also while the server writes. `verify` exits with 1 where it finds a fault, all commands with 2
where they cannot be carried out.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sightline_console.terminal import echo_lines
from sightline_server.access.audit_log.folder import read_first_key
from sightline_server.access.audit_log.reading import holds, last_records, receipt_of
from sightline_server.access.audit_log.verifying import ChainReport, verify_log
from sightline_server.cli.loading import ConfigFile, load
from sightline_server.cli.reported_errors import errors_on_one_line, wrong
from sightline_server.counting import counted

app = typer.Typer(name="audit", help="Verify and read the audit log.", add_completion=False, no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Argument(metavar="FOLDER", help="Folder of the audit log (default: audit.folder).")
]
FolderOption = Annotated[Path | None, typer.Option("--folder", help="Folder of the log (default: audit.folder).")]
Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="File with the first key of the log.")]


@app.command()
def verify(
    key: Key,
    folder: Folder = None,
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check also that a receipt is in the log as it was given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: ConfigFile = None,
) -> None:
    """Find what was changed, removed, moved or added in the log since it was written."""
    with errors_on_one_line():
        path = log_folder(folder, config)
        reports = verify_log(path, read_first_key(key))
        held = None if receipt is None else holds_receipt(path, receipt)
    if as_json:
        facts = {"chains": [asdict(report) for report in reports]}
        echo_lines(json.dumps(facts if held is None else {**facts, "receipt": held}, indent=2))
    else:
        echo_lines("\n".join(lines(reports, held)))
    if held is False or any(report.faults for report in reports):
        raise typer.Exit(1)


@app.command()
def tail(
    folder: Folder = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=100_000, help="Number of records.")] = 20,
    config: ConfigFile = None,
) -> None:
    """Print the last records, unverified, one JSON object a line."""
    with errors_on_one_line():
        found = last_records(log_folder(folder, config), count)
        echo_lines("\n".join(placed.text.decode(errors="replace").rstrip("\n") for placed in found) or "no records")


@app.command()
def receipt(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Id of the call, as its answer has it.")],
    folder: FolderOption = None,
    config: ConfigFile = None,
) -> None:
    """Print the records of one call with their positions in the chain, as JSON that can be given to a person."""
    with errors_on_one_line():
        path = log_folder(folder, config)
        found = receipt_of(path, request_id) if request_id else None
        if found is None:
            raise wrong(f"the audit log in {path} has no record of this request id")
        echo_lines(json.dumps(found, indent=2))


def lines(reports: list[ChainReport], held: bool | None) -> Iterator[str]:
    """The result of a verification as lines."""
    for report in reports:
        span = f", {report.first} to {report.last}" if report.records else ""
        found = counted(report.faults, "fault") if report.faults else "intact"
        yield f"chain-{report.chain}: {counted(report.records, 'record')}{span}: {found}"
        for finding in report.findings:
            yield f"  {'FAULT' if finding.fault else 'note'} {finding.where}: {finding.text}"
    if not reports:
        yield "the log has no chain yet"
    if held is not None:
        yield "receipt: in the log as it was given" if held else "FAULT receipt: the log does not have it"


def holds_receipt(folder: Path, path: Path) -> bool:
    """Returns whether the log has the receipt in a file. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        return holds(folder, json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise wrong(f"{path} is not a receipt: {error}") from error


def log_folder(folder: Path | None, config: Path | None) -> Path:
    """The folder that was given, else that of the settings. Raises `SightlineError` of kind CONFIGURATION."""
    path = folder or load(config).audit.folder
    if path is None:
        raise wrong("no audit log: give its FOLDER, or set audit.folder")
    if not path.is_dir():
        raise wrong(f"{path} is not a folder")
    return path
