"""One base and what was written since: arrays that one writer extends, and readers at any number.

    slot   a product with its images: the base's, then one for each upsert     dies by a delete or the next upsert
    row    what else is known of a slot: the base's, then one for each write    the latest one that is old enough counts
    vector the base's, then those of each upsert                                lives and dies with its slot
Rule: `apply` writes beyond what any view reaches, and marks deaths with numbers that no view has reached. Until its
result is published nothing is changed for anybody, so a write that failed is simply applied again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.delta import ALIVE
from sightline_server.catalog.freeing import freeing
from sightline_server.catalog.operations import Operation, OpKind
from sightline_server.domain.gtin import to_gtin
from sightline_server.domain.items import Product
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.growing import Growing
from sightline_server.index.live.written import Written, written
from sightline_server.index.snapshot import CatalogSnapshot

ROWS, IMAGES = 1024, 256
"""Room for so many rows and vectors is there from the beginning."""

ROW_BYTES = 2048
"""Of a version of a product: its texts, once as a value and once as Arrow, and its numbers."""


class LiveState:
    """The arrays over `base`, whose content is that after operation `seq`. `apply` is for one thread at a time."""

    def __init__(self, base: CatalogSnapshot, seq: int) -> None:
        self._freeing = freeing()
        self.base = base
        self.products: list[Product] = []
        self.lights: list[pa.RecordBatch] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        """The id of each slot that was written."""
        products, images = len(base.table), len(base.owners)
        self.base_products, self.base_images = products, images
        self.died: Growing[np.int64] = Growing(np.full(products + ROWS, ALIVE, np.int64))
        """The number from which on a slot is not seen."""
        self.latest: Growing[np.int64] = Growing(np.arange(products + ROWS, dtype=np.int64))
        """The newest row of a slot."""
        self.counts: Growing[np.int8] = Growing(np.bincount(base.owners, minlength=products).astype(np.int8))
        """The number of vectors of a slot."""
        self.owners: Growing[np.int32] = Growing(base.owners)
        """The slot of a vector."""
        self.vectors: Growing[np.float32] = Growing(np.empty((IMAGES, base.index_dimension), np.float32))
        """The vectors that were written, as the index of the base holds its own; the first one is vector number
        `base_images`."""
        self.born: Growing[np.int64] = Growing(np.empty(ROWS, np.int64))
        """The number of a row that was written; here and below the first one is row `base_products`."""
        self.before: Growing[np.int64] = Growing(np.empty(ROWS, np.int64))
        """The row of the same slot that a row replaced."""
        self.slots: Growing[np.int64] = Growing(np.empty(ROWS, np.int64))
        """The slot of a row."""
        self.groups: Growing[np.int64] = Growing(np.empty(ROWS, np.int64))
        """The item group of a row, numbered as in the base."""
        self.gtins: Growing[np.int64] = Growing(np.empty(ROWS, np.int64))
        """The GTIN of a row, 0 without one."""
        self.slot_of: dict[str, int | None] = {}
        """The slot of each id that was written to; None for one that was deleted."""
        self._group_numbers: dict[str, int] = {}
        self._next_group = int(base.table.groups.max(initial=-1)) + 1
        self.start = Extent(0, seq, products, products, images, products, images, max_images=base.max_images)

    def __del__(self) -> None:
        """Frees the rows that were written; the last reader of a state may be a search, on the event loop."""
        self._freeing.put(self.lights, self.products, self.ids, self.links)

    def apply(self, operations: Sequence[Operation], at: Extent) -> Extent:
        """Adds `operations`, which are those after `at`; returns how far a view of them reaches.

        Raises whatever memory and rows give cause to; `at` is as it was then.
        """
        dimension, adapter = self.base.dimension, self.base.adapter
        return self.change([written(each, dimension, adapter) for each in operations if each.seq > at.seq], at)

    def change(self, rows: Sequence[Written], at: Extent) -> Extent:
        """As `apply`, of operations as values; of those that the log does not have `seq` is that of `at`."""
        if not rows:
            return at
        self._forget_after(at)
        step = Step(self, at)
        for row in rows:
            step.add(row)
        self.slot_of.update(step.slot_of)
        return step.extent

    def rows_at(self, slots: NDArray[np.integer[Any]], number: int) -> NDArray[np.int64]:
        """The row of each of `slots` [N] that a view at `number` sees."""
        rows: NDArray[np.int64] = self.latest.values[slots]
        born, before, first = self.born.values, self.before.values, self.base_products
        while True:
            places = np.maximum(rows - first, 0)
            late = (rows >= first) & (born[places] > number)
            if not late.any():
                return rows
            rows = np.where(late, before[places], rows)

    def written_bytes(self, extent: Extent) -> int:
        """Bytes of memory of what was written, about."""
        rows = extent.rows - self.base_products
        return self.vectors.values.nbytes + rows * ROW_BYTES

    def slot(self, row_id: str) -> int | None:
        """The slot that lives under `row_id`; None without one."""
        if row_id in self.slot_of:
            return self.slot_of[row_id]
        found = self.base.columns.ids.having(row_id)
        return int(found[0]) if len(found) else None

    def group_number(self, name: str) -> int:
        """The number of an item group; a new one for each product without a group."""
        if not name:
            return self._new_group()
        if len(rows := self.base.columns.groups.having(name)):
            return int(self.base.table.groups[rows[0]])
        if name not in self._group_numbers:
            self._group_numbers[name] = self._new_group()
        return self._group_numbers[name]

    def _new_group(self) -> int:
        self._next_group += 1
        return self._next_group - 1

    def _forget_after(self, at: Extent) -> None:
        """Drops what a failed step left at the ends of the lists; in arrays it is written over."""
        del self.products[at.rows - self.base_products :]
        del self.lights[at.rows - self.base_products :]
        del self.ids[at.slots - self.base_products :]
        del self.links[at.vectors - self.base_images :]


class Step:
    """One group of operations on its way into a state; `extent` says how far it has come."""

    def __init__(self, state: LiveState, at: Extent) -> None:
        self.slot_of: dict[str, int | None] = {}
        self.extent = at
        self._state = state

    def add(self, row: Written) -> None:
        """Adds one operation."""
        self.extent = replace(self.extent, number=self.extent.number + 1, seq=row.seq)
        slot = self.slot_of[row.id] if row.id in self.slot_of else self._state.slot(row.id)
        if row.kind is not OpKind.UPDATE:
            self._end(row, slot)
        if row.kind is OpKind.UPSERT:
            self._begin(row)
        elif row.kind is OpKind.UPDATE and slot is not None:
            self._add_row(row, slot, int(self._state.latest.values[slot]))

    def _end(self, row: Written, slot: int | None) -> None:
        """The death of the slot that lived under the id."""
        self.slot_of[row.id] = None
        if slot is None:
            return
        state, extent = self._state, self.extent
        state.died.set(slot, extent.number)
        images = int(state.counts.values[slot])
        dead = {"dead_base": extent.dead_base + images}
        if slot >= state.base_products:
            dead = {"dead_delta": extent.dead_delta + images}
        self.extent = replace(extent, products=extent.products - 1, images=extent.images - images, **dead)

    def _begin(self, row: Written) -> None:
        """A new slot with its vectors and its first row."""
        state, extent = self._state, self.extent
        slot, images = extent.slots, len(row.vectors)
        state.vectors.put(extent.vectors - state.base_images, row.vectors)
        state.owners.put(extent.vectors, np.full(images, slot, np.int32))
        state.died.put(slot, np.array([ALIVE]))
        state.counts.put(slot, np.array([images]))
        state.latest.put(slot, np.array([extent.rows]))
        state.links += row.links
        state.ids.append(row.id)
        self.slot_of[row.id] = slot
        self.extent = replace(
            extent,
            slots=slot + 1,
            vectors=extent.vectors + images,
            products=extent.products + 1,
            images=extent.images + images,
            max_images=max(extent.max_images, images),
        )
        self._add_row(row, slot, -1)

    def _add_row(self, row: Written, slot: int, before: int) -> None:
        """A new row of a slot, in place of row `before`."""
        assert row.product is not None
        assert row.light is not None
        state, extent = self._state, self.extent
        place = extent.rows - state.base_products
        state.born.put(place, np.array([extent.number]))
        state.before.put(place, np.array([before]))
        state.slots.put(place, np.array([slot]))
        state.groups.put(place, np.array([state.group_number(row.product.item_group_id)]))
        state.gtins.put(place, np.array([to_gtin(row.product.gtin)]))
        state.products.append(row.product)
        state.lights.append(row.light)
        # Last: a reader that finds the row here reads the others.
        state.latest.set(slot, extent.rows)
        self.extent = replace(extent, rows=extent.rows + 1)
