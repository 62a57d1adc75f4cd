"""Arrays that one thread extends while others read them.

Rule: what a reader may read is never moved: an array without room is copied to a larger one, and the old one stays for
those that hold it. A reader that has to see a value reads `values` after that was written.
"""

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.pages import array_in_pages

TypeT = TypeVar("TypeT", bound=np.generic)

ROOM = 1024
"""Rows by which an array grows at least."""
SHARE = 4
"""An array grows at least by this fraction of itself."""


class Growing(Generic[TypeT]):
    """An array of rows. Its writer knows how many of them count."""

    def __init__(self, first: NDArray[Any]) -> None:
        self.values: NDArray[TypeT] = first

    def put(self, at: int, rows: NDArray[Any]) -> None:
        """Writes `rows` from row `at` on. Raises `MemoryError`, and changes nothing that counts then."""
        if not len(rows):
            return
        values = self.values
        end = at + len(rows)
        if end > len(values):
            values = array_in_pages((end + max(ROOM, end // SHARE), *values.shape[1:]), values.dtype)
            values[: len(self.values)] = self.values
        values[at:end] = rows
        self.values = values

    def set(self, row: int, value: Any) -> None:
        """Changes one row for those that ask from now on."""
        self.values[row] = value
