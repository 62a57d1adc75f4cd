"""The rows of a collection that is written which a search may return: acknowledged ones that no later write replaced.

Rule: Milvus may show a write early and a deletion late. Rows are numbered in the order of the log, so two comparisons
decide: a row is not shown before its write is acknowledged, nor after its product was written again or deleted.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

KEPT_S = 120.0
"""Seconds for which a replaced product is remembered once Milvus has deleted its rows. Under Bounded consistency Milvus
may show them for 5 s (its `common.gracefulTime`)."""
FIRST_WRITTEN = 1 << 40
"""Rows from this number on were written one by one; those below were pushed."""
IMAGE_BITS = 5
"""Bits of a row's number that count the images of a product, of which it has at most 20."""


def first_row(seq: int) -> int:
    """The number of the first row that operation `seq` of the log can make."""
    return FIRST_WRITTEN + (seq << IMAGE_BITS)


def product_number(seq: int) -> int:
    """The number of the product that operation `seq` of the log makes."""
    return FIRST_WRITTEN + seq


@dataclass(frozen=True, slots=True)
class Reach:
    """Rows of numbers below `end`, without those of a product of `replaced` below its number there."""

    end: int
    replaced: Mapping[str, int]

    def hides(self, product_id: str, row: int) -> bool:
        """Returns whether the row must not be shown."""
        return row >= self.end or row < self.replaced.get(product_id, 0)


class Tombstones:
    """The products whose earlier rows Milvus may still show. For one thread at a time."""

    def __init__(self, kept_s: float = KEPT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_s, self._clock = kept_s, clock
        self._rows: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Mapping[str, int]) -> None:
        """Hides the rows of each product below its number, until some time after `deleted`."""
        for product_id, row in rows.items():
            self._rows[product_id] = row, float("inf")

    def deleted(self, product_ids: Iterable[str]) -> None:
        """Milvus has deleted the rows of these products, so they are forgotten after a while."""
        until = self._clock() + self._kept_s
        for product_id in product_ids:
            self._rows[product_id] = self._rows[product_id][0], until

    def reach(self, end: int) -> Reach:
        """The rows below `end` that may be shown now."""
        now = self._clock()
        self._rows = {product_id: kept for product_id, kept in self._rows.items() if kept[1] > now}
        return Reach(end, {product_id: row for product_id, (row, _) in self._rows.items()})
