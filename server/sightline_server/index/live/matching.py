"""A filter -> the products of a view that match: the columns of the base, and those of what was written.

Rule: the newest row of a product decides, never an older one. The columns of what was written are made in blocks; one
that is full is made once.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.matching import matching
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.state import LiveState
from sightline_server.index.opened_catalog import display_table
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS

BLOCK_ROWS = 512
REMEMBERED, REMEMBERED_BYTES = 64, 64 * 1024 * 1024
Mask = NDArray[np.bool_]


class LiveMatching:
    """Matches filters against `state`. Any thread may call it."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._masks = Masks()
        self._blocks: dict[int, FilterColumns] = {}

    def products(self, wanted: Filter, extent: Extent) -> Mask:
        """A mask of the slots that match `wanted` and live, bool [slots]."""
        state, first = self._state, self._state.base_products
        mask = np.zeros(extent.slots, bool)
        mask[:first] = self._base(wanted)
        count = extent.rows - first
        if count:
            slots = state.slots.values[:count]
            mask[slots] = False
            seen = state.rows_at(slots, extent.number) == np.arange(first, extent.rows)
            mask[slots[seen]] = self._written(wanted, count)[seen]
        living: Mask = mask & (state.died.values[: extent.slots] > extent.number)
        return living

    def _base(self, wanted: Filter) -> Mask:
        """The mask of the base as it was built."""
        mask = self._masks.get(wanted)
        return self._masks.add(wanted, matching(wanted, self._state.base.columns)) if mask is None else mask

    def _written(self, wanted: Filter, count: int) -> Mask:
        """A mask of the first `count` rows that were written."""
        parts = [matching(wanted, columns) for columns in self._columns(count)]
        found: Mask = np.concatenate(parts)
        return found

    def _columns(self, count: int) -> Iterator[FilterColumns]:
        for start in range(0, count, BLOCK_ROWS):
            if (block := self._blocks.get(start)) is None:
                end = min(start + BLOCK_ROWS, count)
                block = columns_of(self._state.lights[start:end])
                if end - start == BLOCK_ROWS:
                    self._blocks[start] = block
            yield block


def columns_of(lights: Sequence[pa.RecordBatch]) -> FilterColumns:
    """The columns of some rows that were written."""
    table = pa.Table.from_batches(lights).combine_chunks()
    [batch] = table.to_batches()
    return FilterColumns.of(display_table([batch.select(list(DISPLAY_COLUMNS))]), table.select(list(PRICE_COLUMNS)))


class Masks:
    """The latest masks, as many as fit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Filter, Mask] = OrderedDict()
        self._bytes = 0

    def get(self, wanted: Filter) -> Mask | None:
        """The mask of `wanted`; None where it is not remembered."""
        with self._lock:
            if wanted in self._held:
                self._held.move_to_end(wanted)
            return self._held.get(wanted)

    def add(self, wanted: Filter, mask: Mask) -> Mask:
        """Remembers `mask`, and forgets the oldest ones beyond the limits. Returns `mask`."""
        with self._lock:
            if wanted not in self._held:
                self._held[wanted] = mask
                self._bytes += mask.nbytes
            while len(self._held) > 1 and (len(self._held) > REMEMBERED or self._bytes > REMEMBERED_BYTES):
                _, forgotten = self._held.popitem(last=False)
                self._bytes -= forgotten.nbytes
        return mask
