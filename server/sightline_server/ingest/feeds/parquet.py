"""Parquet -> records, some rows at a time.

Rule: the sizes that the file declares are checked before anything is unpacked (`parquet_sizes`). Texts stay in their
dictionaries, so that a value which a small file repeats a thousand times is in memory once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline_server.ingest.feeds.columns import REQUIRED, canonical_names, column_name, gathered
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.parquet_sizes import checked_metadata, python_bytes, text_columns
from sightline_server.ingest.feeds.records import MAX_RECORD_CHARS, Record, guarded, refused, shown_names
from sightline_server.ingest.feeds.rows import TOO_LONG

BATCH_ROWS = 256
MAX_COLUMN_BYTES = 64 * MAX_RECORD_CHARS
MAX_VALUE_BYTES = 4 * MAX_RECORD_CHARS


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands for a value that costs its row, for the reason `fault`."""

    fault: str


def read_parquet(file: BinaryIO, name: str, options: FeedOptions) -> Iterator[Record]:
    """The records of a Parquet file. Raises `SightlineError` where it cannot be read or declares absurd sizes."""
    metadata = checked_metadata(file, name, options.limits)
    texts = text_columns(metadata)
    with pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, page_checksum_verification=True) as table:
        names = canonical_names([column_name(field) for field in table.schema_arrow.names])
        require_columns(name, names)
        number = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            columns = [column_values(column) for column in batch.columns]
            for values in zip(*columns, strict=True):
                number += 1
                yield guarded_record(number, names, values)
        if number != metadata.num_rows:
            raise refused(f"{name} declares {metadata.num_rows} rows and holds {number}; it is damaged")


def require_columns(name: str, names: list[str]) -> None:
    """Raises `SightlineError` where a column is missing without which no row can be used."""
    missing = [column for column in REQUIRED if column not in names]
    if missing:
        text = " and ".join(f"no column {column}" for column in missing)
        raise refused(f"{name} has {text}; its columns are: {shown_names(names)}")


def column_values(column: pa.Array) -> list[object]:
    """The values of a column; one that cannot be used is an `Unusable`."""
    if not pa.types.is_dictionary(column.type):
        if python_bytes(column) > MAX_COLUMN_BYTES:
            return [bounded_value(column.slice(row, 1)) for row in range(len(column))]
        return python_values(column)
    indices = column.indices.to_pylist()
    texts = {index: text_value(column.dictionary[index]) for index in set(indices) if index is not None}
    return [None if index is None else texts[index] for index in indices]


def bounded_value(row: pa.Array) -> object:
    """The value of an array with one row, measured before it becomes a Python object."""
    return Unusable(TOO_LONG) if python_bytes(row) > MAX_VALUE_BYTES else python_values(row)[0]


def text_value(text: pa.Scalar) -> object:
    """A text of a dictionary, measured before it becomes a Python object."""
    content = text.as_buffer()
    if content is not None and content.size > MAX_RECORD_CHARS:
        return Unusable(TOO_LONG)
    return python_value(text)


def python_values(column: pa.Array) -> list[object]:
    """The values of a column as Python objects."""
    if pa.types.is_float32(column.type):
        # 19.99, and not 19.989999771118164, which is what the nearest float32 is as a double.
        return [None if value is None else float(str(np.float32(value))) for value in column.to_pylist()]
    try:
        return list(column.to_pylist())
    except Exception:  # a time out of range, a zone that is not known here, bytes that are not UTF-8
        return [python_value(value) for value in column]


def python_value(value: pa.Scalar) -> object:
    """One value as a Python object, such as a text that has to be UTF-8."""
    try:
        result: object = value.as_py()
    except Exception as error:  # as above
        return Unusable(f"has a value that cannot be read ({type(error).__name__})")
    return result


def guarded_record(number: int, names: list[str], values: tuple[object, ...]) -> Record:
    """The record of one row, whatever its values are."""
    return guarded(number, 0, lambda: to_record(number, names, values))


def to_record(number: int, names: list[str], values: tuple[object, ...]) -> Record:
    """The record of one row."""
    for value in values:
        if isinstance(value, Unusable):
            return Record(number, {}, value.fault)
    return Record(number, gathered(zip(names, values, strict=True)))


def count_parquet(file: BinaryIO) -> int:
    """The number of rows that the file declares."""
    return int(pq.read_metadata(file).num_rows)
