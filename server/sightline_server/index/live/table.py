"""The facts that the ranking reads of the products of a state, as a view at one number sees them.

Satisfies `nearest.RankedProducts`: hits name slots, neighbours name rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour, Product
from sightline_server.index.live.state import LiveState
from sightline_server.index.neighbours import Hit
from sightline_server.index.products import order_by


class LiveTable:
    """The products of `state` at `number`."""

    def __init__(self, state: LiveState, number: int) -> None:
        self._state = state
        self._number = number

    def id_order(self, slots: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        """See `neighbours.IdOrder`."""
        ids = pa.array(self._ids(np.asarray(slots, np.int64)), pa.large_string())
        return order_by(ids)(np.arange(len(ids)))

    def groups_of(self, products: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """See `nearest.RankedProducts`."""
        return self._groups(self._state.rows_at(products, self._number))

    def neighbours(self, nearest: Sequence[Sequence[Hit]]) -> list[list[Neighbour]]:
        """See `nearest.RankedProducts`."""
        slots = np.fromiter((hit.product for hits in nearest for hit in hits), np.int64)
        rows = self._state.rows_at(slots, self._number)
        facts = zip(rows.tolist(), self._ids(slots), self._labels(rows), self._groups(rows).tolist(), strict=True)
        return [[neighbour(hit, *next(facts)) for hit in hits] for hits in nearest]

    def take(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`."""
        first = self._state.base_products
        base = iter(self._state.base.products([row for row in rows if row < first]))
        return [next(base) if row < first else self._state.products[row - first] for row in rows]

    def image_links(self, images: Sequence[int]) -> list[str]:
        """The links of `images`."""
        first = self._state.base_images
        base = iter(self._state.base.image_links([image for image in images if image < first]))
        return [next(base) if image < first else self._state.links[image - first] for image in images]

    def _ids(self, slots: NDArray[np.int64]) -> list[str]:
        first = self._state.base_products
        base = iter(self._state.base.table.ids(slots[slots < first]))
        return [next(base) if slot < first else self._state.ids[slot - first] for slot in slots.tolist()]

    def _groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        first, written = self._state.base_products, self._state.groups.values
        groups = written[np.maximum(rows - first, 0)]
        base = rows < first
        groups[base] = self._state.base.table.groups[rows[base]]
        return groups

    def _labels(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, str]]:
        """Category and availability of each row."""
        first = self._state.base_products
        base = self._state.base.table.labels(rows[rows < first])
        for row in rows.tolist():
            if row < first:
                yield next(base)
            else:
                product = self._state.products[row - first]
                yield product.category, product.availability


def neighbour(hit: Hit, row: int, product_id: str, labels: tuple[str, str], group: int) -> Neighbour:
    """A hit as the neighbour that it is in one view."""
    return Neighbour(row, hit.vector, hit.similarity, product_id, *labels, group)
