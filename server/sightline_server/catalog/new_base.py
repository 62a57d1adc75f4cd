"""A new base, written once as a whole: fragments first, one commit last.

Rule: nothing names it before the log does, so a preparation that fails leaves unused files.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import write_fragments

from sightline_server.catalog.base import aligned
from sightline_server.catalog.operations import Layout

FRAGMENT_BYTES = 64 * 1024 * 1024


class NewBase:
    """The dataset at `path`, which is not there yet. Blocking; raises as Lance does."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = str(path)
        self._layout = layout
        self._fragments: list[Any] = []
        self._waiting: list[pa.RecordBatch] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Adds rows of the layout's columns."""
        self._waiting.append(rows)
        if sum(each.nbytes for each in self._waiting) >= FRAGMENT_BYTES:
            self._flush()

    def commit(self) -> int:
        """Makes the dataset of all rows. Returns its version; the caller brings it to the disk."""
        self._flush()
        if not self._fragments:
            empty = self._layout.schema.empty_table()
            return int(lance.write_dataset(empty, self._path, schema=self._layout.schema).version)
        made = lance.LanceOperation.Overwrite(self._layout.schema, self._fragments)
        return int(lance.LanceDataset.commit(self._path, made).version)

    def _flush(self) -> None:
        if self._waiting:
            table = aligned(self._layout.table(self._waiting))
            self._fragments += write_fragments(table, self._path, schema=self._layout.schema, mode="create")
            self._waiting = []


def write_base(path: Path, layout: Layout, parts: Iterable[pa.RecordBatch]) -> int:
    """Writes a base of `parts`. Returns its version."""
    base = NewBase(path, layout)
    for each in parts:
        base.add(each)
    return base.commit()
