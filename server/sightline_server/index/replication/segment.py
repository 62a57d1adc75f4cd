"""A segment: some operations of a catalog's log, in a file that never changes.

    sightline-segment 1 <SHA-256 of the rest>
    a stream of Arrow with the rows of the log
Rule: operations come in their order and without a gap, each with the checksum that the log has for it.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.log_tail import StoredRow, operations_of
from sightline_server.catalog.operations import Layout, Operation
from sightline_server.errors import SightlineError
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.sealed import sealed, unsealed

FORMAT = 1
MAGIC = "sightline-segment"
COLUMNS = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("kind", pa.int8(), nullable=False),
        pa.field("id", pa.large_string(), nullable=False),
        pa.field("row", pa.large_binary()),
        pa.field("sha256", pa.binary(32), nullable=False),
    ]
)


def encoded(rows: Sequence[StoredRow]) -> bytes:
    """The file of `rows`."""
    columns = zip(*rows, strict=True)
    batch = pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)], COLUMNS
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, COLUMNS) as stream:
        stream.write_batch(batch)
    return sealed(MAGIC, FORMAT, sink.getvalue().to_pybytes())


def decoded(data: bytes, first: int, last: int, layout: Layout) -> list[Operation]:
    """The operations `first` to `last` of the file `data`.

    Raises `NotFollowedError`: INCOMPLETE for a part of a file, FORMAT for one of another version of Sightline, DAMAGED
    where it has other operations, or one of them was changed.
    """
    body = unsealed(MAGIC, FORMAT, data, "the operations were")
    try:
        table = pa.ipc.open_stream(pa.py_buffer(body)).read_all().cast(COLUMNS)
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        found = operations_of(rows, layout, Path("segment"))
    except (pa.ArrowException, ValueError, TypeError, SightlineError) as error:
        raise damaged(first, last) from error
    if [each.seq for each in found] != list(range(first, last + 1)):
        raise damaged(first, last)
    return found


def damaged(first: int, last: int) -> NotFollowedError:
    """The error of a segment whose content is not what was published."""
    message = (
        f"operations {first} to {last} are not what was published; the replica goes on with the next revision, or at "
        "once when its publisher has restored the file"
    )
    return NotFollowedError(Reason.DAMAGED, message)
