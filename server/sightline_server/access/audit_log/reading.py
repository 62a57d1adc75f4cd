"""Records of an audit log to be shown: the last ones, and those of one call with their position in the chain."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline_server.access.audit_log.chain import Fields
from sightline_server.access.audit_log.files import chains_of, files_of, lines_of, parsed
from sightline_server.access.audit_log.records import SCHEMA


@dataclass(frozen=True, slots=True)
class Placed:
    """A record with its position: `line` counts from 1."""

    chain: int
    file: str
    line: int
    text: bytes
    fields: Fields


def placed_records(folder: Path, containing: bytes = b"") -> Iterator[Placed]:
    """The records of a log in the order of each chain; only lines that contain some bytes, if any are given."""
    for chain, path in chains_of(folder).items():
        for file in files_of(path):
            for number, line in enumerate(lines_of(file.path), 1):
                if containing in line and (fields := parsed(line)) is not None:
                    yield Placed(chain, file.path.name, number, line, fields)


def last_records(folder: Path, count: int) -> list[Placed]:
    """The last `count` records of a log over all chains, the oldest first."""
    placed = enumerate(placed_records(folder))
    latest = heapq.nlargest(count, placed, key=lambda pair: (str(pair[1].fields.get("event_time")), pair[0]))
    return [each for _, each in reversed(latest)]


def receipt_of(folder: Path, request_id: str) -> dict[str, object] | None:
    """The receipt of a call: its records, as they are in the log, with their positions; None where there is none."""
    found = [
        placed
        for placed in placed_records(folder, request_id.encode())
        if placed.fields.get("request_id") == request_id
    ]
    if not found:
        return None
    records = [
        {"chain": each.chain, "file": each.file, "line": each.line, "record": each.text.decode().rstrip("\n")}
        for each in found
    ]
    return {"schema_version": SCHEMA, "receipt_id": str(found[0].fields["record_id"]), "records": records}


def holds(folder: Path, receipt: object) -> bool:
    """Returns whether every record of a receipt is in the log as the receipt has it. Raises `ValueError` for something
    that is not a receipt."""
    records = receipt.get("records") if isinstance(receipt, dict) else None
    if not isinstance(records, list) or not records:
        raise ValueError("it has no records")
    wanted = [str(each.get("record")).encode() for each in records if isinstance(each, dict)]
    return len(wanted) == len(records) and all(
        any(placed.text.rstrip(b"\n") == text for placed in placed_records(folder, text)) for text in wanted
    )
