"""Labelled or unlabelled photos -> folds: parts of which each is measured by what is fitted on all others.

Rule: the same photos and seed give the same folds.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sightline_server.ingest.adapting.fitting import ShopPhotos
from sightline_server.ingest.adapting.images import ShopImages

FOLDS = 5
"""Folds of labelled photos: each fit has four fifths of them, nearly as many as the adapter that is stored."""
MOST_REPEATS = 4
PHOTOS, IMAGES = 400, 200_000
"""Photos and catalog images that are measured without repeating, because each repeat takes minutes."""

Places = NDArray[np.intp]


def repeats_for(photos: ShopPhotos, images: ShopImages) -> int:
    """The number of splits: fewer, the more photos there are, which make a single one say more, and the more images."""
    return max(1, min(MOST_REPEATS, PHOTOS // len(photos), IMAGES // len(images.stored)))


def halves_of(photos: ShopPhotos, seed: int) -> tuple[Places, Places]:
    """Two halves of the objects at random; see `folds_of`."""
    first, second = folds_of(photos, seed, 2)
    return first, second


def folds_of(photos: ShopPhotos, seed: int, count: int) -> list[Places]:
    """`count` folds of the objects at random; the photos of a product are in as many of them as they can.

    Objects of one photo without labels are in one fold.
    """
    chance = np.random.default_rng(seed)
    if photos.products is None and photos.sources is not None:
        return parted(photos.sources, chance, count)
    order = chance.permutation(len(photos))
    if photos.products is not None:
        # Dealt out product by product, so that the photos of a product are in different folds. The products are in
        # another order for each seed: otherwise those with one photo would be in the same fold each time.
        products, places = np.unique(photos.products, return_inverse=True)
        order = order[np.argsort(chance.permutation(len(products))[places[order]], kind="stable")]
    return [np.sort(order[start::count]) for start in range(count)]


def product_halves(photos: ShopPhotos, seed: int) -> tuple[Places, Places]:
    """The photos of one half of the products, and those of the other half."""
    first, second = product_folds(photos, seed, 2)
    return first, second


def product_folds(photos: ShopPhotos, seed: int, count: int) -> list[Places]:
    """`count` folds of the objects, each with all photos of its products."""
    assert photos.products is not None
    return parted(photos.products, np.random.default_rng(seed), count)


def parted(of: NDArray[np.generic], chance: np.random.Generator, count: int) -> list[Places]:
    """The positions of each of `count` parts of what `of` [N] names, drawn at random."""
    drawn = chance.permutation(np.unique(of))
    bounds = [len(drawn) * number // count for number in range(count + 1)]
    return [np.flatnonzero(np.isin(of, drawn[start:end])) for start, end in pairwise(bounds)]
