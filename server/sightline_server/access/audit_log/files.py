"""The files of one chain: `NUMBER-DAY.jsonl` in a folder `chain-N`, each begun by a record about the file before it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline_server.access.audit_log.chain import Fields
from sightline_server.access.audit_log.records import FILE_STARTED

FILE_NAME = re.compile(r"(\d{6,})-(\d{8})\.jsonl")
CHAIN_NAME = re.compile(r"chain-(\d+)")
STATE, LOCK = "state", "lock"


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of a chain: its number from 1 on, and the day (YYYYMMDD in UTC) on which it was begun."""

    number: int
    day: str
    path: Path


def day_of(seconds: float) -> str:
    """The day of a Unix time in UTC, YYYYMMDD."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d")


def new_file(folder: Path, number: int, seconds: float) -> LogFile:
    """File `number` of the chain in `folder`, begun at Unix time `seconds`; it is not made."""
    day = day_of(seconds)
    return LogFile(number, day, folder / f"{number:06d}-{day}.jsonl")


def files_of(folder: Path) -> list[LogFile]:
    """The files of the chain in `folder`, in their order."""
    names = [(FILE_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(
        (LogFile(int(match[1]), match[2], path) for match, path in names if match), key=lambda file: file.number
    )


def chains_of(folder: Path) -> dict[int, Path]:
    """The folders of the chains of a log by their numbers, in order."""
    names = [(CHAIN_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    return dict(sorted((int(match[1]), path) for match, path in names if match))


def lines_of(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The lines of a file from byte `start` to byte `end`, with their line feeds; the last may have none."""
    with path.open("rb") as file:
        file.seek(start)
        at = start
        while end is None or at < end:
            line = file.readline(-1 if end is None else end - at)
            if not line:
                return
            at += len(line)
            yield line


def parsed(line: bytes) -> Fields | None:
    """The fields of a line; None for one that is not a JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def header_of(file: LogFile) -> Fields | None:
    """The first record of a file, unverified; None where it is not one that begins a file."""
    fields = parsed(next(lines_of(file.path), b""))
    return fields if fields is not None and fields.get("event_type") == FILE_STARTED else None
