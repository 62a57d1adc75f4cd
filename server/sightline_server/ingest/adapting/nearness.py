"""The products near each photo, with their closest images: by exact search, as a search of the catalog finds them.

Rule: some images at a time, so that memory does not grow with the catalog.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting.images import ShopImages

NOTHING = -1
"""The product and the image where a catalog has fewer products than are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The K products nearest to each of N photos, nearest first.

    `products` int32 [N,K] and their closest `images` int64 [N,K], each `NOTHING` where there are no more, and
    `similarities` float32 [N,K].
    """

    products: NDArray[np.int32]
    images: NDArray[np.int64]
    similarities: NDArray[np.float32]

    @classmethod
    def of_nothing(cls, photos: int, count: int) -> Self:
        """`count` ranks without a product for each of `photos` photos."""
        return cls(
            np.full((photos, count), NOTHING, np.int32),
            np.full((photos, count), NOTHING, np.int64),
            np.zeros((photos, count), np.float32),
        )

    def put(self, places: NDArray[np.intp], near: "Near") -> None:
        """Makes the products of the photos at `places` those of `near`."""
        self.products[places], self.images[places] = near.products, near.images
        self.similarities[places] = near.similarities

    def take(self, places: NDArray[np.intp]) -> "Near":
        """Some of the photos."""
        return Near(self.products[places], self.images[places], self.similarities[places])


def nearest_products(
    photos: NDArray[np.float32], images: ShopImages, count: int, adapter: Adapter | None = None
) -> Near:
    """The `count` products nearest to each of the embeddings `photos` [N,D]."""
    queries = photos if adapter is None else adapter.of_queries(photos)
    # So many images have so many products in any case.
    most = count * int(np.unique(images.owners, return_counts=True)[1].max())
    best = np.empty((len(photos), 0), np.float32)
    rows = np.empty((len(photos), 0), np.int64)
    for part, vectors in parts(images, adapter):
        best = np.concatenate([best, queries @ vectors.T], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(part, (len(photos), len(part)))], axis=1)
        if best.shape[1] > most:
            kept = np.argpartition(-best, most - 1, axis=1)[:, :most]
            best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    # Of equal similarities the first image, and so the first product, comes first.
    order = np.lexsort((rows, -best), axis=1)
    best, rows = np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return of_products(best, rows, images.owners, count)


def parts(images: ShopImages, adapter: Adapter | None) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The numbers and the vectors of all images, some at a time."""
    numbers = np.arange(len(images.stored))
    for rows in images.parts():
        vectors = images.vectors(rows) if adapter is None else adapter.of_images(images.stored[rows])
        yield numbers[rows], vectors


def of_products(best: NDArray[np.float32], rows: NDArray[np.int64], owners: NDArray[np.int32], count: int) -> Near:
    """The first `count` products of images `rows` [N,M] with similarities `best` [N,M], highest first."""
    found = Near.of_nothing(len(best), count)
    for place, products in enumerate(owners[rows]):
        firsts = np.sort(np.unique(products, return_index=True)[1])[:count]
        found.products[place, : len(firsts)] = products[firsts]
        found.images[place, : len(firsts)] = rows[place, firsts]
        found.similarities[place, : len(firsts)] = best[place, firsts]
    return found
