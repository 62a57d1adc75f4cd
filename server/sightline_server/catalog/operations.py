"""The operations of a catalog's log: what a writer asks for, and what the log keeps of it.

Rule: an operation is one row of Arrow or none, so that the log and the base hold the same bytes. An update keeps the
heavy columns (images and embeddings) of the row that it changes, and the log does not repeat them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import pyarrow as pa

KEY = "id"
"""The column that identifies a row."""


class OpKind(IntEnum):
    """The effect of an operation on a row; the numbers are stored."""

    UPSERT = 1
    UPDATE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class Upsert:
    """Adds a row or replaces the one of its id. `row` has one row of the catalog's schema."""

    row: pa.RecordBatch

    @property
    def id(self) -> str:
        """The id of the row."""
        return str(self.row[KEY][0].as_py())


@dataclass(frozen=True, slots=True)
class Update:
    """Gives some light columns of the row `id` new values. Without such a row it does nothing."""

    id: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes the row `id`. Without such a row it does nothing."""

    id: str


Write = Upsert | Update | Delete


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the log. `row` is whole for an upsert, has the light columns for an update, else is None."""

    seq: int
    kind: OpKind
    id: str
    row: pa.RecordBatch | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a catalog; `heavy` are the names of those that an update keeps."""

    schema: pa.Schema
    heavy: tuple[str, ...]
    light: pa.Schema = field(init=False, compare=False)
    """The columns that an update can change, and the id. Made once: it is asked for with each operation of a log."""

    def __post_init__(self) -> None:
        """Makes `light`."""
        light = pa.schema([column for column in self.schema if column.name not in self.heavy])
        object.__setattr__(self, "light", light)

    def of(self, kind: OpKind) -> pa.Schema | None:
        """The columns of the row of an operation."""
        return {OpKind.UPSERT: self.schema, OpKind.UPDATE: self.light, OpKind.DELETE: None}[kind]

    def table(self, rows: Sequence[pa.RecordBatch]) -> pa.Table:
        """The rows together, in one piece."""
        return pa.Table.from_batches(rows, schema=self.schema).combine_chunks()


def fingerprint(writes: Iterable[Write]) -> bytes:
    """SHA-256 of a group of writes, equal for equal groups."""
    total = hashlib.sha256()
    for write in writes:
        for part in (type(write).__name__.encode(), write.id.encode(), content(write)):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.digest()


def content(write: Write) -> bytes:
    """The bytes of a write beyond its kind and id."""
    if isinstance(write, Upsert):
        return bytes(write.row.serialize())
    if isinstance(write, Update):
        return json.dumps(dict(write.changes), sort_keys=True, default=str).encode()
    return b""
