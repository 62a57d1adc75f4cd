"""GTIN -> the products of a revision that have it: two arrays, 12 bytes a product with a GTIN.

Rule: a number that is not a GTIN, and one that so many products have that it names none of them, matches nothing.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sightline_server.domain.gtin import DIGITS, SEPARATORS
from sightline_server.index.products import single

MOST_PRODUCTS = 100
"""Products that may share a GTIN: its sizes and bundles do in some feeds; a placeholder is in thousands of rows."""


@dataclass(frozen=True, slots=True, eq=False)
class GtinRows:
    """The GTINs of a catalog, `numbers` int64 [N] ascending, and the product row of each, `rows` int32 [N]."""

    numbers: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """The GTINs of a column of texts without nulls."""
        rows, numbers = gtin_numbers(single(column))
        order = np.argsort(numbers, kind="stable")
        return cls(numbers[order], rows[order].astype(np.int32))

    def __len__(self) -> int:
        return len(self.numbers)

    def having(self, gtin: int) -> NDArray[np.int64]:
        """The rows that have `gtin`, ascending."""
        first, last = np.searchsorted(self.numbers, [gtin, gtin + 1])
        return self.rows[first:last].astype(np.int64)


def gtin_numbers(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows [N] whose text is a GTIN, and the GTINs [N]: as `domain.gtin.to_gtin`, for a column at a time."""
    digits = pc.replace_substring_regex(texts, SEPARATORS, "")
    rows: NDArray[np.int64] = np.flatnonzero(pc.match_substring_regex(digits, DIGITS).to_numpy(zero_copy_only=False))
    numbers: NDArray[np.int64] = digits.take(pa.array(rows)).cast(pa.int64()).to_numpy(zero_copy_only=False)
    valid = (check_sums(numbers) % 10 == 0) & (numbers > 0)
    return rows[valid], numbers[valid]


def check_sums(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The weighted sum of the digits of each number, [N]; see `domain.gtin.has_check_digit`."""
    sums, left = np.zeros(len(numbers), np.int64), numbers.copy()
    for place in range(14):
        left, digit = np.divmod(left, 10)
        sums += digit * (3 if place % 2 else 1)
    return sums
