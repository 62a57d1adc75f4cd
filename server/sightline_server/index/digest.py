"""A digest of a catalog's content, so that a changed file is refused (Lance itself does not notice one).

Rule: the digest depends on the rows and their order only, not on how they were cut into batches.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class ContentDigest:
    """SHA-256 over columns of strings, decimals, float16, and lists of them."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._columns = tuple(columns)
        self._parts: dict[str, Any] = {}

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Adds `rows`, which hold every column."""
        for name in self._columns:
            column = rows[name]
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                self._add(name, chunk)

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        parts = (f"{path}:{self._parts[path].hexdigest()}" for path in sorted(self._parts))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _add(self, path: str, array: pa.Array) -> None:
        if pa.types.is_list(array.type):
            self._feed(f"{path}#", array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int32))
            self._add(f"{path}[]", array.flatten())
        elif pa.types.is_fixed_size_list(array.type):
            self._add(f"{path}[]", array.flatten())
        elif pa.types.is_floating(array.type):
            self._feed(path, array.to_numpy(zero_copy_only=False))
        else:
            self._add_text(path, array if pa.types.is_string(array.type) else array.cast(pa.string()))

    def _add_text(self, path: str, array: pa.Array) -> None:
        lengths = pc.fill_null(pc.binary_length(array), -1)
        self._feed(f"{path}#", lengths.to_numpy(zero_copy_only=False).astype(np.int32))
        filled = array.fill_null("")
        _, offsets, data = filled.buffers()
        if data is not None and len(filled):
            bounds = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
            self._feed(path, memoryview(data)[bounds[0] : bounds[-1]])

    def _feed(self, path: str, values: Any) -> None:
        self._parts.setdefault(path, hashlib.sha256()).update(memoryview(values).cast("B"))
