"""The operations that are not yet in the base, as versions of rows: what a reader sees at a sequence number.

    base rows + versions born at or before the number, without those that had died by then
Rule: a version is born at the sequence number of its operation and dies at that of the next one of its id. Nothing is
removed, so a reader of an earlier number is not disturbed by writers.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sightline_server.catalog.freeing import freeing
from sightline_server.catalog.operations import KEY, Layout, Operation, OpKind

ALIVE = (1 << 63) - 1
"""The death of a version that no operation has ended."""


@dataclass(slots=True)
class Version:
    """One version of row `id`, seen at sequence numbers `born` <= number < `died`.

    `row` is whole, or has only the light columns. Then the heavy ones are those of `heavy_of`, or of the base's row
    where that is None.
    """

    id: str
    born: int
    row: pa.RecordBatch
    whole: bool
    heavy_of: "Version | None" = None
    died: int = ALIVE

    def seen_at(self, seq: int) -> bool:
        """Returns whether a reader at `seq` sees this version."""
        return self.born <= seq < self.died


@dataclass(frozen=True, slots=True)
class View:
    """The delta at one sequence number: `replaced` are ids whose base rows do not count, `versions` what is
    seen instead."""

    replaced: frozenset[str]
    versions: tuple[Version, ...]


class Delta:
    """The versions of all operations since a checkpoint, in the order of their sequence numbers."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._versions: dict[str, list[Version]] = {}
        self._base_deaths: dict[str, int] = {}
        self._operations: list[Operation] = []
        for operation in operations:
            self.apply(operation)

    def apply(self, operation: Operation) -> None:
        """Adds an operation that is newer than all others."""
        before = self.latest(operation.id)
        self._operations.append(operation)
        self._base_deaths.setdefault(operation.id, operation.seq)
        if before is not None:
            before.died = operation.seq
        if operation.row is not None:
            version = Version(operation.id, operation.seq, operation.row, operation.kind is OpKind.UPSERT)
            if operation.kind is OpKind.UPDATE and before is not None:
                version.heavy_of = before if before.whole else before.heavy_of
            self._versions.setdefault(operation.id, []).append(version)

    def free(self) -> None:
        """Drops all versions, a part at a time; views that were made before keep theirs."""
        versions, self._versions = list(self._versions.values()), {}
        operations, self._operations = self._operations, []
        self._base_deaths = {}
        freeing().put(versions, operations)

    def after(self, seq: int) -> Sequence[Operation]:
        """The operations after `seq`, in order."""
        first = bisect_right(self._operations, seq, key=lambda operation: operation.seq)
        return self._operations[first:]

    def touches(self, row_id: str) -> bool:
        """Returns whether an operation concerns row `row_id`."""
        return row_id in self._base_deaths

    @property
    def touched(self) -> Collection[str]:
        """The ids of all operations."""
        return self._base_deaths.keys()

    def latest(self, row_id: str) -> Version | None:
        """The version of `row_id` that lives; None for a deleted row and for one that only the base has."""
        versions = self._versions.get(row_id)
        return versions[-1] if versions and versions[-1].died == ALIVE else None

    def base_died(self, row_id: str) -> int:
        """The sequence number from which on the base's row of `row_id` is not seen; `ALIVE` while it is."""
        return self._base_deaths.get(row_id, ALIVE)

    def at(self, seq: int) -> View:
        """The view of a reader at `seq`."""
        replaced = frozenset(row_id for row_id, died in self._base_deaths.items() if died <= seq)
        seen = [each for versions in self._versions.values() for each in versions if each.seen_at(seq)]
        return View(replaced, tuple(sorted(seen, key=lambda version: version.born)))


def materialised(view: View, layout: Layout, base_rows: Callable[[Sequence[str]], pa.Table]) -> pa.Table:
    """The rows of `view`, whole. `base_rows` gives the base's rows of some ids, of which each has one."""
    partial = [version for version in view.versions if not version.whole]
    wanted = [version.id for version in partial if version.heavy_of is None]
    old = {batch[KEY][0].as_py(): batch for batch in single_rows(base_rows(wanted))} if wanted else {}
    rows = []
    for version in view.versions:
        if version.whole:
            rows.append(version.row)
        else:
            heavy = old[version.id] if version.heavy_of is None else version.heavy_of.row
            rows.append(joined(version.row, heavy, layout))
    return layout.table(rows)


def joined(light: pa.RecordBatch, heavy: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
    """One row with the light columns of one and the heavy columns of the other."""
    columns = [heavy[name] if name in layout.heavy else light[name] for name in layout.schema.names]
    return pa.RecordBatch.from_arrays(columns, schema=layout.schema)


def single_rows(table: pa.Table) -> list[pa.RecordBatch]:
    """Each row of `table` as a separate batch."""
    return [batch.slice(row, 1) for batch in table.to_batches() for row in range(batch.num_rows)]
