"""The products of a snapshot that have a GTIN, as something that can be searched.

Rule: they are compared by their own vectors, so that the similarity of an exact match is as exact as any other.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.filtered import FilteredSnapshot, NearestFunction
from sightline_server.index.nearest import RankedProducts
from sightline_server.index.neighbours import Hit
from sightline_server.ports import CodedProducts, Snapshot


def images_of(owners: NDArray[np.int32], products: NDArray[np.int64]) -> NDArray[np.int64]:
    """The vectors of `products` [N], ascending; vector v is of product `owners[v]`."""
    images: NDArray[np.int64] = np.flatnonzero(np.isin(owners, products))
    return images


def coded_products(
    whole: Snapshot,
    table: RankedProducts,
    owners: NDArray[np.int32],
    images: NDArray[np.int64],
    nearest: NearestFunction,
) -> CodedProducts:
    """The products whose vectors are `images` of `whole`, which `nearest` searches."""
    products, first = np.unique(owners[images], return_index=True)
    hits: Sequence[Hit] = [Hit(0.0, *hit) for hit in zip(products.tolist(), images[first].tolist(), strict=True)]
    (neighbours,) = table.neighbours([hits])
    return CodedProducts(FilteredSnapshot(whole, whole.applied_filter, nearest), tuple(neighbours))
