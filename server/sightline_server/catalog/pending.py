"""A group of writes on its way into the log: which rows there are, and what an update makes of them.

Rule: each write sees those before it in the group. Nothing is changed here; the store applies the operations once they
are on the disk.
"""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.current import Current, etag_of
from sightline_server.catalog.delta import Delta, joined, single_rows
from sightline_server.catalog.operations import KEY, Layout, Operation, OpKind, Update, Upsert, Write
from sightline_server.errors import ErrorKind, SightlineError

State = tuple[int, dict[str, pa.RecordBatch | None]]
"""The number of operations of a group, and the rows that they make."""


class Pending:
    """The operations of one group, numbered from `last_seq` + 1."""

    def __init__(self, layout: Layout, delta: Delta, base: Base, last_seq: int) -> None:
        self.operations: list[Operation] = []
        self._layout = layout
        self._delta = delta
        self._base = base
        self._last_seq = last_seq
        self._light: dict[str, pa.RecordBatch | None] = {}
        self._stored = Current(layout, delta, base)

    def read(self, writes: Iterable[Write]) -> None:
        """Reads the rows of the base that updates among `writes` change, all at once; those of the group stay."""
        updated = [write.id for write in writes if isinstance(write, Update) and self._is_only_stored(write.id)]
        if updated:
            rows = self._base.rows(updated, self._layout.light.names)
            self._light |= {batch[KEY][0].as_py(): batch for batch in single_rows(rows)}

    def add(self, write: Write) -> int:
        """Adds a write; returns its sequence number, or 0 where there is no such row.

        Raises `SightlineError` of kind INVALID_REQUEST for a row of other columns or values that they cannot hold.
        """
        if isinstance(write, Upsert):
            if write.row.num_rows != 1 or write.row.schema != self._layout.schema or not write.id:
                raise invalid("a row of an upsert has the columns of the catalog and an id that is not empty")
            return self._append(OpKind.UPSERT, write.id, write.row)
        if isinstance(write, Update):
            before = self._current(write.id)
            return self._append(OpKind.UPDATE, write.id, self._changed(before, write)) if before is not None else 0
        return self._append(OpKind.DELETE, write.id, None) if self._is_there(write.id) else 0

    def state(self) -> State:
        """The state that `revert` goes back to."""
        return len(self.operations), dict(self._light)

    def revert(self, state: State) -> None:
        """Drops the writes that were added after `state`."""
        del self.operations[state[0] :]
        self._light = state[1]

    def etag(self, row_id: str) -> str:
        """The etag of row `row_id` after the writes of the group so far; empty where there is no such row."""
        light = self._light.get(row_id)
        if row_id not in self._light:
            stored = self._stored.row(row_id)
            return "" if stored is None else etag_of(stored)
        if light is None:
            return ""
        heavy = next((each.row for each in reversed(self.operations) if whole(each, row_id)), self._stored.row(row_id))
        return etag_of(joined(light, heavy, self._layout)) if heavy is not None else ""

    def _append(self, kind: OpKind, row_id: str, row: pa.RecordBatch | None) -> int:
        seq = self._last_seq + len(self.operations) + 1
        self.operations.append(Operation(seq, kind, row_id, row))
        self._light[row_id] = row
        return seq

    def _current(self, row_id: str) -> pa.RecordBatch | None:
        """A row that has the light columns of `row_id` as they are now; None where there is no such row."""
        if row_id in self._light:
            return self._light[row_id]
        version = self._delta.latest(row_id)
        return None if version is None else version.row

    def _is_only_stored(self, row_id: str) -> bool:
        """Returns whether only the base can have row `row_id`."""
        return row_id not in self._light and not self._delta.touches(row_id)

    def _is_there(self, row_id: str) -> bool:
        """Returns whether there is a row of `row_id` now."""
        return row_id in self._base if self._is_only_stored(row_id) else self._current(row_id) is not None

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


def whole(operation: Operation, row_id: str) -> bool:
    """Returns whether `operation` writes all columns of row `row_id`."""
    return operation.kind is OpKind.UPSERT and operation.id == row_id


def invalid(message: str) -> SightlineError:
    """The error of a write that cannot be taken."""
    return SightlineError(ErrorKind.INVALID_REQUEST, message)
