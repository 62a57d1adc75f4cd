"""Marks and origins: whether a row of one generation was embedded from the same images as a row of another.

    mark     digest of a row's id, images and embeddings      differs from generation to generation
    origin   the mark that the row had in the generation in which its images were written
Rule: two rows of one product with the same origin are of the same images, whatever embedded them. A row whose mark is
not noted was written in its own generation, so that its mark is its origin.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from sightline_server.catalog import generations
from sightline_server.catalog.digest import row_hashes
from sightline_server.catalog.log_file import reading, require_log, sqlite_errors
from sightline_server.catalog.operations import KEY, Layout

MARK_BYTES = 16


def mark_columns(layout: Layout) -> list[str]:
    """The columns that a mark covers."""
    return [KEY, *layout.heavy]


def marks(rows: pa.RecordBatch, layout: Layout) -> Iterator[bytes]:
    """The mark of each row; `rows` has `mark_columns`."""
    for value in row_hashes(rows.select(mark_columns(layout))):
        yield value.to_bytes(32, "big")[:MARK_BYTES]


def left_out_mark(row_id: str) -> bytes:
    """The bytes in the position of the mark of a row that was left out of a generation on purpose."""
    return blake2b(row_id.encode(), digest_size=MARK_BYTES, person=b"left out").digest()


class Origins:
    """The origins of the rows of one generation."""

    def __init__(self, layout: Layout, noted: Mapping[bytes, bytes]) -> None:
        self._layout = layout
        self._noted = noted

    @property
    def columns(self) -> list[str]:
        """The columns that `of` needs."""
        return mark_columns(self._layout)

    def left_out(self, row_id: str, origin: bytes) -> bool:
        """Returns whether row `row_id`, of that origin, was left out of the generation on purpose."""
        return self._noted.get(left_out_mark(row_id)) == origin

    def of(self, rows: pa.RecordBatch) -> list[bytes]:
        """The origin of each row; `rows` has `mark_columns`."""
        return [self._noted.get(mark, mark) for mark in marks(rows, self._layout)]


def read_origins(folder: Path, generation: int, layout: Layout) -> Origins:
    """The origins of a generation of the catalog at `folder`, read without the lock."""
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        return Origins(layout, generations.select_origins(connection, generation))
