"""Feed files -> records: CSV, TSV, JSON lines and Parquet read alike, one record at a time.

Rule: a record is column name -> value with the names of the Merchant Center feed; what a value means is decided in
`feed.py`. Row numbers are those that the shop's own tools show: a table's header is row 1, a JSON line has its line
number, a Parquet row counts from 1.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from sightline_server.errors import ErrorKind, SightlineError

MAX_FIELD_CHARS = 1024 * 1024
PARQUET_BATCH_ROWS = 1024
DELIMITERS = "\t;,"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a feed: `values` by column name, or, where it cannot be read at all, why in `fault`."""

    row: int
    values: Mapping[str, object]
    fault: str = ""


def column_name(raw: str) -> str:
    """A column's name as the Merchant Center writes it: `Image Link`, `g:image_link` and `image-link` are one."""
    name = raw.strip().lower().removeprefix("g:")
    return "_".join(name.replace("-", " ").replace("_", " ").split())


def read_records(feed: Path) -> Iterator[Record]:
    """The rows of `feed`, in order; its format is told by its suffix.

    Raises `SightlineError` of kind CONFIGURATION when the file as a whole cannot be read.
    """
    reader = READERS.get(feed.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise SightlineError(ErrorKind.CONFIGURATION, f"{feed.name}: unknown kind of feed; known are {known}")
    if not feed.is_file():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such feed: {feed}")
    try:
        yield from reader(feed)
    except UnicodeDecodeError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{feed.name} is not UTF-8 text") from error
    except (OSError, pa.ArrowException) as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{feed.name} cannot be read: {type(error).__name__}") from error


def count_rows(feed: Path) -> int:
    """How many rows `feed` has, for a progress bar. Raises as `read_records`."""
    if feed.suffix.lower() == ".parquet" and feed.is_file():
        try:
            return int(pq.read_metadata(feed).num_rows)
        except (OSError, pa.ArrowException):
            return 0
    return sum(1 for _ in read_records(feed))


def read_table(feed: Path) -> Iterator[Record]:
    """Rows of a delimited text; the header tells the delimiter."""
    with feed.open(encoding="utf-8-sig", newline="") as text:
        header_line = text.readline()
        text.seek(0)
        delimiter = max(DELIMITERS, key=header_line.count)
        rows = delimited_rows(feed, text, delimiter)
        _, header = next(rows, (1, []))
        names = [column_name(name) for name in header]
        require_columns(feed, names)
        for number, row in rows:
            if not any(value.strip() for value in row):
                continue
            if len(row) > len(names):
                yield Record(number, {}, f"has {len(row)} fields, the header has {len(names)}")
                continue
            yield Record(number, dict(zip(names, row, strict=False)))


def delimited_rows(feed: Path, text: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows with their numbers from 1, the header included."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    rows = csv.reader(text, delimiter=delimiter, strict=False)
    number = 0
    while True:
        number += 1
        try:
            yield number, next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            # Where a quote is never closed, the rest of the file is one field: no later row can be trusted.
            message = f"{feed.name}, row {number}: not readable as a table ({error})"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error


def require_columns(feed: Path, names: list[str]) -> None:
    """Raises `SightlineError` when a table lacks the columns without which no row can be used."""
    missing = [name for name in ("id", "image_link") if name not in names]
    if missing:
        found = ", ".join(names) or "none"
        message = f"{feed.name} has no column {' and no column '.join(missing)}; its columns are: {found}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{feed.name} has the column {doubled[0]} more than once")


def read_json_lines(feed: Path) -> Iterator[Record]:
    """One JSON object a line."""
    with feed.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError:
                values = None
            if isinstance(values, dict):
                yield Record(number, {column_name(name): value for name, value in values.items()})
            else:
                yield Record(number, {}, "is not a JSON object")


def read_parquet(feed: Path) -> Iterator[Record]:
    """Rows of a Parquet file, some at a time."""
    with pq.ParquetFile(feed) as file:
        names = [column_name(name) for name in file.schema_arrow.names]
        require_columns(feed, names)
        number = 0
        for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
            columns = (column.to_pylist() for column in batch.columns)
            for values in zip(*columns, strict=True):
                number += 1
                yield Record(number, dict(zip(names, values, strict=True)))


READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".txt": read_table,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
}
