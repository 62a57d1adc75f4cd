"""Labelled photos and the images of a catalog -> whether the labels fit the photos better than labels by chance.

    similarity of each photo to each labelled product -> reciprocal rank of the product that its label names
        -> the same with the products of the labels exchanged at random, many times
Rule: photos of one product keep one label in each exchange, so that it does not matter how many photos a product has.
An adapter learns from labels whatever they say, and photos that are held out have the same labels. So a table whose
rows are mixed up is found here, before anything is fitted.

The method is the permutation test of an association between two matrices (Mantel, 1967): here of photos by products and
of labels by products.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Side
from sightline_server.ingest.adapting.fitting import ShopPhotos, mean_of
from sightline_server.ingest.adapting.images import ShopImages

Array = NDArray[np.float32]
EXCHANGES = 999
PART = 2048
"""Images that are compared at a time."""
LEVEL = 0.01
"""Chance of labels without meaning that pass: smaller than that of a gain, because both are needed."""


def chance_of_labels(photos: ShopPhotos, images: ShopImages, seed: int) -> float:
    """The share of labels by chance that fit `photos`, whose products are known, as well as their own; above 0."""
    assert photos.products is not None
    labelled, owners = np.unique(photos.products, return_inverse=True)
    ranks = reciprocal_ranks(similarities(photos.embeddings, images, labelled))
    scores = np.zeros((len(labelled), len(labelled)))
    np.add.at(scores, owners, ranks)
    chance, own = np.random.default_rng(seed), float(np.trace(scores))
    places = np.arange(len(labelled))
    others = [float(scores[places, chance.permutation(len(labelled))].sum()) for _ in range(EXCHANGES)]
    return (1 + sum(each >= own for each in others)) / (1 + EXCHANGES)


def similarities(embeddings: Array, images: ShopImages, products: NDArray[np.int32]) -> Array:
    """The similarity of each of `embeddings` [N,D] to the closest image of each of `products` [P], ascending.

    Both clouds are centred, because what all photos have in common hides what each shows.
    """
    photos, side = Side(embeddings.mean(axis=0)).of(embeddings), Side(mean_of(images))
    best = np.full((len(products), len(embeddings)), -np.inf, np.float32)
    shown = np.flatnonzero(np.isin(images.owners, products))
    for start in range(0, len(shown), PART):
        rows = shown[start : start + PART]
        places = np.searchsorted(products, images.owners[rows])
        np.maximum.at(best, places, side.of(images.vectors(rows)) @ photos.T)
    return best.T


def reciprocal_ranks(found: Array) -> NDArray[np.float64]:
    """One divided by the rank of each number within its row of `found` [N,P], the highest first."""
    ranks = np.empty(found.shape, np.float64)
    order = np.argsort(-found, axis=1, kind="stable")
    np.put_along_axis(ranks, order, 1.0 / np.arange(1, found.shape[1] + 1)[np.newaxis], axis=1)
    return ranks
