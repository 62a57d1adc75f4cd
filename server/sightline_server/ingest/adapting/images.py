"""The images of a catalog as a fit sees them, and which product comes first for a photo.

Rule: some rows at a time, so that memory does not grow with the catalog.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Adapter, unit
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


@dataclass(frozen=True, slots=True, eq=False)
class Firsts:
    """The first product of each photo, int32 [N], and its similarity, float32 [N]."""

    products: NDArray[np.int32]
    similarities: NDArray[np.float32]


def first_products(photos: NDArray[np.float32], images: ShopImages, adapter: Adapter | None = None) -> Firsts:
    """The first product for each of the embeddings `photos` [N,D], by exact search."""
    queries = photos if adapter is None else adapter.of_queries(photos)
    best = np.full(len(photos), -np.inf, np.float32)
    products = np.full(len(photos), -1, np.int32)
    for rows in images.parts():
        vectors = images.vectors(rows) if adapter is None else adapter.of_images(images.stored[rows])
        similarities = queries @ vectors.T
        places = similarities.argmax(axis=1)
        found = similarities[np.arange(len(photos)), places]
        nearer = found > best
        best[nearer], products[nearer] = found[nearer], images.owners[rows][places[nearer]]
    return Firsts(products, best)
