"""The digest of a catalog's content: the sum of one SHA-256 per row, modulo 2^256.

Rule: the digest depends on the rows, not on their order or on the files that hold them, because Lance moves rows. It is
kept up to date by subtracting the old row and adding the new one. It guards against damage, not against an author who
chooses rows to collide.
"""

import hashlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MODULUS = 1 << 256

Bytes = bytes | memoryview


class SumDigest:
    """The digest of the rows that were added, whatever their order."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Adds `rows`."""
        self.value = (self.value + total(rows)) % MODULUS

    def hexdigest(self) -> str:
        """The digest as 64 hexadecimal digits."""
        return hexadecimal(self.value)


def total(rows: pa.Table | pa.RecordBatch) -> int:
    """The sum of the hashes of `rows`, modulo 2^256."""
    batches = rows.to_batches() if isinstance(rows, pa.Table) else [rows]
    return sum(value for batch in batches for value in row_hashes(batch)) % MODULUS


def hexadecimal(value: int) -> str:
    """A digest as 64 hexadecimal digits."""
    return f"{value:064x}"


def row_hashes(batch: pa.RecordBatch) -> Iterator[int]:
    """The hash of each row: columns in the order of the schema, each value with its length."""
    columns = [list(column_bytes(column)) for column in grouped(batch)]
    for parts in zip(*columns, strict=True):
        row = hashlib.sha256()
        for lengths, values in parts:
            row.update(lengths)
            row.update(values)
        yield int.from_bytes(row.digest(), "big")


def grouped(batch: pa.RecordBatch) -> list[list[pa.Array]]:
    """The text columns together, which are hashed in one go, then each list column alone."""
    texts: list[pa.Array] = []
    lists: list[list[pa.Array]] = []
    for column in batch.columns:
        if pa.types.is_list(column.type):
            lists.append([column])
        else:
            texts.append(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    return [texts, *lists]


def column_bytes(columns: list[pa.Array]) -> Iterator[tuple[bytes, Bytes]]:
    """The lengths and the values of each row of some text columns, or of one list column."""
    first = columns[0]
    if not pa.types.is_list(first.type):
        return text_rows(columns)
    if pa.types.is_fixed_size_list(first.type.value_type):
        return vector_rows(first)
    return text_list_rows(first)


def text_rows(columns: list[pa.Array]) -> Iterator[tuple[bytes, Bytes]]:
    """The rows of text columns; a missing text has length -1."""
    lengths = np.stack([text_lengths(column) for column in columns], axis=1)
    filled = [column.fill_null("") for column in columns]
    joined = pc.binary_join_element_wise(*filled, "") if len(filled) > 1 else filled[0]
    return zip(row_bytes(lengths), slices(joined), strict=True)


def text_list_rows(column: pa.ListArray) -> Iterator[tuple[bytes, Bytes]]:
    """The rows of a column of text lists."""
    texts = column.flatten()
    lengths = text_lengths(texts)
    bounds = list_bounds(column)
    parts = (lengths[start:end].tobytes() for start, end in pairwise(bounds))
    counts = row_bytes(np.diff(bounds).astype(np.int32).reshape(-1, 1))
    headers = (count + part for count, part in zip(counts, parts, strict=True))
    ends, data = text_buffer(texts)
    values = (data[ends[start] : ends[end]] for start, end in pairwise(bounds))
    return zip(headers, values, strict=True)


def vector_rows(column: pa.ListArray) -> Iterator[tuple[bytes, Bytes]]:
    """The rows of a column of lists of vectors float16 [D]."""
    width = column.type.value_type.list_size
    values = np.ascontiguousarray(column.flatten().flatten().to_numpy(zero_copy_only=False)).view(np.uint8).data
    bounds = list_bounds(column)
    size = width * column.type.value_type.value_type.bit_width // 8
    rows = (values[start * size : end * size] for start, end in pairwise(bounds))
    return zip(row_bytes(np.diff(bounds).astype(np.int32).reshape(-1, 1)), rows, strict=True)


def text_lengths(column: pa.Array) -> NDArray[np.int32]:
    """The length of each text in bytes, -1 where there is none."""
    found: NDArray[Any] = pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False)
    return found.astype(np.int32)


def list_bounds(column: pa.ListArray) -> list[int]:
    """The positions in the flattened column where each list begins, and where the last one ends."""
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return [0, *np.cumsum(lengths, dtype=np.int64).tolist()]


def row_bytes(matrix: NDArray[np.int32]) -> Iterator[bytes]:
    """Each row of int32 [N,K] as little-endian bytes."""
    data = matrix.astype("<i4", copy=False).tobytes()
    width = 4 * matrix.shape[1]
    return (data[start : start + width] for start in range(0, len(data), width))


def slices(column: pa.Array) -> Iterator[Bytes]:
    """The bytes of each text of a string column without nulls."""
    ends, data = text_buffer(column)
    return (data[start:end] for start, end in pairwise(ends))


def text_buffer(column: pa.Array) -> tuple[list[int], memoryview]:
    """The bytes of N texts one after the other, and the N + 1 positions where they begin and end."""
    if not len(column):
        return [0], memoryview(b"")
    _, offsets, data = column.buffers()
    kind = np.int64 if pa.types.is_large_string(column.type) else np.int32
    ends = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].tolist()
    return ends, memoryview(data if data is not None else b"")
