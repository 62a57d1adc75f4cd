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
WORDS = 8
"""Words of 32 bits in a hash."""
PART_BYTES = 4 << 20
"""About the bytes of rows that are copied next to each other at once."""


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
    return sum(sum_of(digests) for batch in batches for digests in row_digests(batch)) % MODULUS


def hexadecimal(value: int) -> str:
    """A digest as 64 hexadecimal digits."""
    return f"{value:064x}"


def row_hashes(batch: pa.RecordBatch) -> Iterator[int]:
    """The hash of each row: columns in the order of the schema, each value with its length."""
    return (int.from_bytes(digest, "big") for digests in row_digests(batch) for digest in digests)


def sum_of(digests: list[bytes]) -> int:
    """The sum of `digests` as numbers; word by word, which is faster than large numbers."""
    words = np.frombuffer(b"".join(digests), ">u4").reshape(-1, WORDS).sum(axis=0, dtype=np.uint64)
    return sum(int(word) << 32 * (WORDS - 1 - place) for place, word in enumerate(words))


def row_digests(batch: pa.RecordBatch) -> Iterator[list[bytes]]:
    """The SHA-256 of each row, for some rows at a time."""
    if not batch.num_rows:
        return
    step = max(1, batch.num_rows * PART_BYTES // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, step):
        parts = [part for columns in grouped(batch.slice(start, step)) for part in column_bytes(columns)]
        ends, data = buffer_of(pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.large_binary())))
        yield [hashlib.sha256(data[begin:end]).digest() for begin, end in pairwise(ends.tolist())]


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


def column_bytes(columns: list[pa.Array]) -> tuple[pa.Array, pa.Array]:
    """The lengths and the values of each row of some text columns, or of one list column, as large_binary arrays."""
    first = columns[0]
    if not pa.types.is_list(first.type):
        return text_rows(columns)
    if pa.types.is_fixed_size_list(first.type.value_type):
        return vector_rows(first)
    return text_list_rows(first)


def text_rows(columns: list[pa.Array]) -> tuple[pa.Array, pa.Array]:
    """The rows of text columns; a missing text has length -1."""
    lengths = np.stack([text_lengths(column) for column in columns], axis=1)
    filled = [column.fill_null("") for column in columns]
    joined = pc.binary_join_element_wise(*filled, "") if len(filled) > 1 else filled[0]
    return fixed_rows(lengths), joined.cast(pa.large_binary())


def text_list_rows(column: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """The rows of a column of text lists: their number with the length of each, and the texts."""
    texts, bounds = column.flatten(), list_bounds(column)
    headers = np.insert(text_lengths(texts), bounds[:-1], np.diff(bounds).astype(np.int32))
    ends, data = buffer_of(texts)
    places = bounds + np.arange(len(bounds))
    return binary_rows(np.ascontiguousarray(headers, "<i4"), 4 * places), binary_rows(data, ends[bounds])


def vector_rows(column: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """The rows of a column of lists of vectors float16 [D]: their number, and the vectors."""
    kind = column.type.value_type
    values = np.ascontiguousarray(column.flatten().flatten().to_numpy(zero_copy_only=False))
    bounds = list_bounds(column)
    size = kind.list_size * kind.value_type.bit_width // 8
    return fixed_rows(np.diff(bounds).astype(np.int32).reshape(-1, 1)), binary_rows(values, size * bounds)


def text_lengths(column: pa.Array) -> NDArray[np.int32]:
    """The length of each text in bytes, -1 where there is none."""
    found: NDArray[Any] = pc.fill_null(pc.binary_length(column), -1).to_numpy(zero_copy_only=False)
    return found.astype(np.int32)


def list_bounds(column: pa.ListArray) -> NDArray[np.int64]:
    """The positions in the flattened column where each list begins, and where the last one ends."""
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def fixed_rows(matrix: NDArray[np.int32]) -> pa.Array:
    """Each row of int32 [N,K] as little-endian bytes."""
    return binary_rows(np.ascontiguousarray(matrix, "<i4"), 4 * matrix.shape[1] * np.arange(len(matrix) + 1))


def binary_rows(data: NDArray[Any] | pa.Buffer, ends: NDArray[np.int64]) -> pa.Array:
    """N pieces of `data`, whose bytes begin and end at `ends` [N+1]."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(ends, np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(ends) - 1, buffers)


def buffer_of(column: pa.Array) -> tuple[NDArray[np.int64], memoryview]:
    """The N + 1 positions where N texts or pieces of bytes begin and end, and the bytes that have them."""
    if not len(column):
        return np.zeros(1, np.int64), memoryview(b"")
    _, offsets, data = column.buffers()
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    ends = np.frombuffer(offsets, np.int64 if large else np.int32)[column.offset : column.offset + len(column) + 1]
    return ends.astype(np.int64), memoryview(data if data is not None else b"")
