"""Writing a new generation of a catalog: its rows come from an iterator, and nothing names them until all are there.

Rule: writes of the catalog go on meanwhile. Rows that do not fit end the preparation, and its files are removed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog.durable import sync_tree
from sightline_server.catalog.founding import Tally, tally
from sightline_server.catalog.new_base import NewBase
from sightline_server.catalog.operations import KEY, Layout
from sightline_server.catalog.origins import left_out_mark, marks
from sightline_server.catalog.writing import writing_errors
from sightline_server.errors import ErrorKind, SightlineError


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """Rows of a new generation, whole. `origins` has the origin of each, from `reembedding.Plan`.

    `left_out` has the ids and origins of rows that the generation does not have on purpose.
    """

    rows: pa.RecordBatch
    origins: Sequence[bytes]
    left_out: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class Preparation:
    """The base of a new generation at `path`, while it is written and afterwards."""

    path: Path
    layout: Layout
    origins: dict[bytes, bytes] = field(default_factory=dict)
    """The origin of each row by its mark."""
    _ids: set[str] = field(default_factory=set)

    def write(self, parts: Iterable[PreparedRows]) -> tuple[int, Tally]:
        """Writes all rows and brings them to the disk. Returns the version of the base, and the facts of its rows.

        Raises `SightlineError`: INVALID_REQUEST for rows of other columns or an id that was there before, or as
        `writing_errors`; and what `parts` raises.
        """
        base = NewBase(self.path, self.layout)
        counts = tally(self._written(base, parts), self.layout.heavy[-1])
        with writing_errors(self.path.parent):
            version = base.commit()
            sync_tree(self.path)
        return version, counts

    def _written(self, base: NewBase, parts: Iterable[PreparedRows]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            self._check(part)
            self.origins.update(zip(marks(part.rows, self.layout), part.origins, strict=True))
            self.origins.update((left_out_mark(row_id), origin) for row_id, origin in part.left_out)
            with writing_errors(self.path.parent):
                base.add(part.rows)
            yield part.rows

    def _check(self, part: PreparedRows) -> None:
        ids = set(part.rows[KEY].to_pylist())
        if part.rows.schema != self.layout.schema or len(part.origins) != part.rows.num_rows:
            raise SightlineError(ErrorKind.INVALID_REQUEST, "rows of a generation have its columns and an origin each")
        if len(ids) != part.rows.num_rows or ids & self._ids:
            raise SightlineError(ErrorKind.INVALID_REQUEST, "a generation has each product once")
        self._ids |= ids
