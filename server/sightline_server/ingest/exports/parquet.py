"""Parquet: one row a product, with its embeddings where they are asked for.

Rule: a group of rows holds few enough values in lists that a reader, who checks what the file declares, takes it.
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.embedded_parquet import EMBEDDER, EMBEDDINGS
from sightline_server.ingest.exports.cells import BAD, STANDARD, Cells, Rules, checked_cells
from sightline_server.ingest.exports.writers import Plan
from sightline_server.ingest.feeds.exact import EXACT
from sightline_server.ingest.feeds.parquet import guarded_record
from sightline_server.ingest.feeds.records import Record

GROUP_ROWS = 4096
GROUP_VALUES = 500_000
"""Numbers of embeddings in a group of rows; half of what is read whatever the number of rows."""
GROUP_CHARS = 16 * 1024 * 1024
LINKS = "additional_image_link"
VECTORS = pa.list_(pa.field("element", pa.list_(pa.field("element", pa.float32()))))


class ParquetWriter:
    """`FeedWriter` of Parquet, compressed by Zstandard, with checksums of its pages."""

    def __init__(self, file: BinaryIO, plan: Plan) -> None:
        self._plan = plan
        self._names = [*STANDARD, *plan.columns, EXACT]
        self._rules = Rules(BAD, frozenset(plan.columns).__contains__, attribute_order=bool(plan.embedder))
        self._schema = schema_of(self._names, embeddings=bool(plan.embedder))
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd", write_page_checksum=True)
        self._pending: list[tuple[Cells, CatalogRow]] = []
        self._values = self._chars = 0

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """See `FeedWriter`."""
        for row in rows:
            values = row.embeddings.size if self._plan.embedder else 0
            full = len(self._pending) >= GROUP_ROWS or self._chars > GROUP_CHARS
            if full or self._values + values > GROUP_VALUES:
                self._flush()
            cells = checked_cells(row, self._rules, self._read)
            self._pending.append((cells, row))
            self._values += values
            self._chars += sum(len(text) for value in cells.values() for text in value)

    def finish(self) -> None:
        """See `FeedWriter`."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(self._table(), row_group_size=len(self._pending))
        self._pending, self._values, self._chars = [], 0, 0

    def _table(self) -> pa.Table:
        cells = [each for each, _ in self._pending]
        columns: dict[str, Any] = {name: [each.get(name) or None for each in cells] for name in self._names}
        if self._plan.embedder:
            columns[EMBEDDER] = [self._plan.embedder] * len(cells)
            columns[EMBEDDINGS] = vectors_of([row for _, row in self._pending])
        return pa.table(columns, schema=self._schema)

    def _read(self, cells: Cells) -> Record:
        return guarded_record(1, self._names, tuple(cells.get(name) or None for name in self._names))


def schema_of(names: Sequence[str], *, embeddings: bool) -> pa.Schema:
    """The columns: texts, the list of additional images, and the embeddings as lists of float32."""
    fields = [pa.field(name, pa.list_(pa.string()) if name == LINKS else pa.string()) for name in names]
    more = [pa.field(EMBEDDER, pa.string()), pa.field(EMBEDDINGS, VECTORS)] if embeddings else []
    return pa.schema([*fields, *more])


def vectors_of(rows: Sequence[CatalogRow]) -> pa.Array:
    """The embeddings of each product as one column."""
    flat = np.concatenate([row.embeddings for row in rows])
    inner = pa.array(np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1])
    outer = pa.array(np.cumsum([0, *(len(row.embeddings) for row in rows)], dtype=np.int32))
    vectors = pa.ListArray.from_arrays(inner, pa.array(flat.reshape(-1)), type=VECTORS.value_type)
    return pa.ListArray.from_arrays(outer, vectors, type=VECTORS)
