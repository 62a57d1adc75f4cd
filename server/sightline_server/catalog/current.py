"""Whole rows as they are now: the base's row with what the log says of it, and the etag that stands for its content."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from sightline_server.catalog.base import Base
from sightline_server.catalog.delta import Delta, View, joined, materialised
from sightline_server.catalog.digest import hexadecimal, row_hashes
from sightline_server.catalog.operations import Layout

ETAG_DIGITS = 32


def etag_of(row: pa.RecordBatch) -> str:
    """The etag of a whole row: digits of its hash, which no other content has."""
    return hexadecimal(next(iter(row_hashes(row))))[:ETAG_DIGITS]


class Current:
    """The rows of `base` with the operations of `delta`. For the writer's thread, or while no writer runs."""

    def __init__(self, layout: Layout, delta: Delta, base: Base) -> None:
        self.layout = layout
        self._delta = delta
        self._base = base

    def row(self, row_id: str) -> pa.RecordBatch | None:
        """The whole row of `row_id`; None where there is none."""
        if not self._delta.touches(row_id):
            return self._of_base(row_id)
        version = self._delta.latest(row_id)
        if version is None or version.whole:
            return None if version is None else version.row
        heavy = self._of_base(row_id) if version.heavy_of is None else version.heavy_of.row
        return None if heavy is None else joined(version.row, heavy, self.layout)

    def written(self, row_ids: Iterable[str]) -> pa.Table:
        """The whole rows of those of `row_ids` that the log has written and not deleted since, read all at once."""
        latest = (self._delta.latest(row_id) for row_id in row_ids)
        view = View(frozenset(), tuple(version for version in latest if version is not None))
        return materialised(view, self.layout, self._base.rows)

    def count(self) -> int:
        """The number of rows."""
        touched = self._delta.touched
        replaced = sum(row_id in self._base for row_id in touched)
        alive = sum(self._delta.latest(row_id) is not None for row_id in touched)
        return len(self._base.positions()) - replaced + alive

    def changed(self) -> Iterator[tuple[str, bool]]:
        """Each id that the log speaks of, and whether there is such a row now."""
        for row_id in self._delta.touched:
            yield row_id, self._delta.latest(row_id) is not None

    def base_ids(self) -> dict[str, int]:
        """The ids of the base. The dictionary is never changed; another base has another one."""
        return self._base.positions()

    def _of_base(self, row_id: str) -> pa.RecordBatch | None:
        if row_id not in self._base:
            return None
        return self._base.rows([row_id]).cast(self.layout.schema).combine_chunks().to_batches()[0]
