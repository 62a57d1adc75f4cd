"""The products of a view that have a GTIN: those of the base, and what was written since.

Rule: the newest row of a product decides, never an older one.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.live.extent import Extent
from sightline_server.index.live.state import LiveState


def any_gtin(state: LiveState, extent: Extent) -> bool:
    """Returns whether a row of the base, or one that was written since, has a GTIN."""
    return len(state.base.gtins) > 0 or bool((written(state, extent) > 0).any())


def slots_having(state: LiveState, extent: Extent, gtin: int) -> NDArray[np.int64]:
    """The slots that live in `extent` and whose newest row has `gtin`, ascending."""
    first = state.base_products
    in_base, rows = state.base.gtins.having(gtin), first + np.flatnonzero(written(state, extent) == gtin)
    slots = np.unique(np.concatenate([in_base, state.slots.values[rows - first]]))
    slots = slots[state.died.values[slots] > extent.number]
    newest = np.isin(state.rows_at(slots, extent.number), np.concatenate([in_base, rows]))
    having: NDArray[np.int64] = slots[newest]
    return having


def written(state: LiveState, extent: Extent) -> NDArray[np.int64]:
    """The GTIN of each row that was written, [rows of `extent` beyond the base]."""
    return state.gtins.values[: extent.rows - state.base_products]
