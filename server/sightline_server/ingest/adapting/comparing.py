"""Labelled photos and the products near them -> what a sum of weights counts for each of them.

Rule: as in a search: the nearest products alone are compared, each by its closest image, by the same code. The local
features of photos are in memory for as long as this takes, and in no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.local_features import LocalFeatures
from sightline_server.ingest.adapting.head import Tick
from sightline_server.ingest.adapting.nearness import NOTHING, Near
from sightline_server.ports import ImageFeatures
from sightline_server.stages.local_features.evidence import likenesses, points_in_common


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The comparison of N photos with the K products near each.

    `products` int32 [N,K], `NOTHING` where there are no more; `similarities` float64 [N,K]; `points` int [N,K] in
    common; `colours` float64 [N,K], likenesses less the average of the photo, 0 where they are not known. Photo n shows
    the product `shown[n]`, int32 [N].
    """

    products: NDArray[np.int32]
    similarities: NDArray[np.float64]
    points: NDArray[np.intp]
    colours: NDArray[np.float64]
    shown: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.shown)

    def take(self, places: NDArray[np.intp]) -> "Evidence":
        """Some of the photos."""
        arrays = (self.products[places], self.similarities[places], self.points[places], self.colours[places])
        return Evidence(*arrays, self.shown[places])


@dataclass(frozen=True, slots=True, eq=False)
class StoredImages:
    """The local features `kept` of a catalog's images: the ids of its products, and the link of each image."""

    kept: ImageFeatures
    ids: pa.Array
    links: pa.Array

    def of(self, products: NDArray[np.int32], images: NDArray[np.int64]) -> dict[str, LocalFeatures]:
        """Those of `images` of `products`, by the ids of the products."""
        ids, links = (
            column.take(pa.array(rows)).to_pylist() for column, rows in ((self.ids, products), (self.links, images))
        )
        stored = self.kept.of(list(zip(ids, links, strict=True)))
        return {product_id: found for product_id, found in zip(ids, stored, strict=True) if found is not None}


def compared(
    described: Sequence[LocalFeatures], near: Near, shown: NDArray[np.int32], stored: StoredImages, tick: Tick
) -> Evidence:
    """The comparison of photos with the features `described` with the products `near` them.

    Raises what `tick`, which is called after each photo, raises, and `SightlineError` where features cannot be read.
    """
    points = np.zeros(near.products.shape, np.intp)
    colours = np.zeros(near.products.shape, np.float64)
    for place, photo in enumerate(described):
        there = np.flatnonzero(near.products[place] != NOTHING)
        products = near.products[place, there]
        images = stored.of(products, near.images[place, there])
        counts = points_in_common(photo, images)
        alike, average = likenesses(photo.colours, images)
        for column, product_id in zip(there, stored.ids.take(pa.array(products)).to_pylist(), strict=True):
            points[place, column] = counts.get(product_id, 0)
            colours[place, column] = alike[product_id] - average if product_id in alike else 0.0
        tick()
    return Evidence(near.products, near.similarities.astype(np.float64), points, colours, shown)


def not_compared(near: Near, shown: NDArray[np.int32]) -> Evidence:
    """The evidence of a catalog that keeps no local features: similarities alone."""
    none = np.zeros(near.products.shape)
    return Evidence(near.products, near.similarities.astype(np.float64), none.astype(np.intp), none, shown)
