"""The images of a catalog as a fit sees them.

Rule: some rows at a time, so that memory does not grow with the catalog.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import unit
from sightline_server.index.half_floats import float32

PART_ROWS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class ShopImages:
    """Stored embeddings float16 [V,D]; image v is of product `owners[v]`, int32 [V]."""

    stored: NDArray[np.float16]
    owners: NDArray[np.int32]

    def parts(self) -> Iterator[slice]:
        """All images, some at a time."""
        for start in range(0, len(self.stored), PART_ROWS):
            yield slice(start, start + PART_ROWS)

    def vectors(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Embeddings as they are compared without an adapter, float32 [N,D] of length 1."""
        return unit(float32(self.stored[rows]))
