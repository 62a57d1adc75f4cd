"""A group of writes on its way into the log: which rows there are, and what an update makes of them.

Rule: each write sees those before it in the group. Nothing is changed here; the store applies the operations once they
are on the disk.
"""

from typing import Any

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.delta import Delta
from sightline_server.catalog.operations import KEY, Layout, Operation, OpKind, Update, Upsert, Write
from sightline_server.errors import ErrorKind, SightlineError


class Pending:
    """The operations of one group, numbered from `last_seq` + 1."""

    def __init__(self, layout: Layout, delta: Delta, base: Base, last_seq: int) -> None:
        self.operations: list[Operation] = []
        self._layout = layout
        self._delta = delta
        self._base = base
        self._last_seq = last_seq
        self._light: dict[str, pa.RecordBatch | None] = {}

    def add(self, write: Write) -> int:
        """Adds a write; returns its sequence number, or 0 where there is no such row.

        Raises `SightlineError` of kind INVALID_REQUEST for a row of other columns or values that they cannot hold.
        """
        if isinstance(write, Upsert):
            if write.row.num_rows != 1 or write.row.schema != self._layout.schema or not write.id:
                raise invalid("a row of an upsert has the columns of the catalog and an id that is not empty")
            return self._append(OpKind.UPSERT, write.id, write.row)
        before = self._current(write.id)
        if before is None:
            return 0
        if isinstance(write, Update):
            return self._append(OpKind.UPDATE, write.id, self._changed(before, write))
        return self._append(OpKind.DELETE, write.id, None)

    def _append(self, kind: OpKind, row_id: str, row: pa.RecordBatch | None) -> int:
        seq = self._last_seq + len(self.operations) + 1
        self.operations.append(Operation(seq, kind, row_id, row))
        self._light[row_id] = row
        return seq

    def _current(self, row_id: str) -> pa.RecordBatch | None:
        """A row that has the light columns of `row_id` as they are now; None where there is no such row."""
        if row_id in self._light:
            return self._light[row_id]
        if self._delta.touches(row_id):
            version = self._delta.latest(row_id)
            return None if version is None else version.row
        if row_id not in self._base:
            return None
        return self._base.rows([row_id]).combine_chunks().to_batches()[0]

    def _changed(self, before: pa.RecordBatch, update: Update) -> pa.RecordBatch:
        light = self._layout.light
        unknown = set(update.changes) - (set(light.names) - {KEY})
        if unknown:
            raise invalid(f"{', '.join(sorted(unknown))} cannot be updated; upsert the whole product instead")
        values: dict[str, Any] = before.select(light.names).to_pylist()[0]
        try:
            return pa.RecordBatch.from_pylist([{**values, **update.changes}], schema=light)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise invalid(f"the new values of {update.id!r} do not fit their columns: {error}") from error


def invalid(message: str) -> SightlineError:
    """The error of a write that cannot be taken."""
    return SightlineError(ErrorKind.INVALID_REQUEST, message)
