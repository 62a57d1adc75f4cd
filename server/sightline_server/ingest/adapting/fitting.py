"""Embeddings of photos and the images of a catalog -> an adapter.

    both clouds centred by their own means -> a head, where products are known -> hubness of each image -> its estimate
Rule: nothing of a single photo is kept: means, matrices, one number for each catalog image, and a few directions in
which photos differ. An image that comes later gets an estimate of its hubness, which lies between that of the images
that are there with the photos of their products and without: as much as with them would lose new products, which have
no photos, and as little as without would let them win against all others.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Adapter, Hubness, Side, features, image_keys
from sightline_server.ingest.adapting.head import Examples, Tick, fit_head
from sightline_server.ingest.adapting.images import ShopImages

BETA = 0.5
"""Share of the hubness that is taken off."""
NEAREST = 10
"""Photos nearest to an image whose mean similarity is its hubness; of fewer than 100 photos, a tenth of them."""
DIRECTIONS = 64
"""Directions in which photos differ most, which the estimate of the hubness knows."""

Array = NDArray[np.float32]
Sides = tuple[Side, Side]
"""Those of photos and of images."""


class Method(StrEnum):
    """The way in which an adapter was fitted."""

    CENTRED = "centred"
    """Means and hubness."""
    HEAD = "head"
    """A trained head in addition."""


@dataclass(frozen=True, slots=True, eq=False)
class ShopPhotos:
    """Embeddings of objects in photos of a shop, float32 [N,D] of length 1.

    `products` int32 [N] are those shown, where known. `sources` int [N] name the photo of each object, where photos
    have several.
    """

    embeddings: Array
    products: NDArray[np.int32] | None = None
    sources: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def photos(self) -> int:
        """The number of photos."""
        return len(self) if self.sources is None else len(np.unique(self.sources))

    def take(self, places: NDArray[np.intp]) -> "ShopPhotos":
        """Some of the objects."""
        products = None if self.products is None else self.products[places]
        return ShopPhotos(self.embeddings[places], products, None if self.sources is None else self.sources[places])


def no_tick() -> None:
    """Nothing to do after an epoch."""


def fit(photos: ShopPhotos, images: ShopImages, method: Method, *, seed: int = 0, tick: Tick = no_tick) -> Adapter:
    """The adapter of `images` by `photos`; for a head, their products are known. Its `scale` is 1."""
    photo_mean, image_mean = photos.embeddings.mean(axis=0), mean_of(images)
    sides = Side(photo_mean), Side(image_mean)
    if method is Method.HEAD:
        sides = head_sides(photos, images, sides, seed, tick)
    hubness = hubness_of(sides[0].of(photos.embeddings), photos.products, images, sides[1])
    return Adapter(
        *sides, hubness, BETA, 1.0, {"method": method.value, "photos": photos.photos, "objects": len(photos)}
    )


def mean_of(images: ShopImages) -> Array:
    """The mean of all images, float32 [D]."""
    total = np.zeros(images.stored.shape[1], np.float64)
    for rows in images.parts():
        total += images.vectors(rows).sum(axis=0, dtype=np.float64)
    return (total / len(images.stored)).astype(np.float32)


def head_sides(photos: ShopPhotos, images: ShopImages, means: Sides, seed: int, tick: Tick) -> Sides:
    """The sides of a head that `photos` have trained, with the same `means`."""
    matrices = fit_head(examples_of(photos, images, means[0].mean, means[1].mean), seed, tick)
    return Side(means[0].mean, matrices[0]), Side(means[1].mean, matrices[1])


def examples_of(photos: ShopPhotos, images: ShopImages, photo_mean: Array, image_mean: Array) -> Examples:
    """The photos with the images of their products; of several images of a product, a photo shows the nearest one."""
    assert photos.products is not None
    places = np.flatnonzero(np.isin(images.owners, photos.products))
    vectors, products = images.vectors(places), images.owners[places]
    similarities = photos.embeddings @ vectors.T
    similarities[photos.products[:, np.newaxis] != products] = -np.inf
    return Examples(photos.embeddings - photo_mean, vectors - image_mean, similarities.argmax(axis=1), products)


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Photos float32 [N,K] that hubness is counted against, their `mean` [K], and the directions in which they vary."""

    photos: Array
    mean: Array
    factors: Array

    @classmethod
    def of(cls, photos: Array) -> Self:
        """The bank of `photos`."""
        mean = photos.mean(axis=0)
        return cls(photos, mean, principal(photos - mean))

    def hubness(self, adapted: Array, apart: NDArray[np.bool_] | None = None) -> Array:
        """The hubness of images [V,K], float32 [V]; without the photos that are `apart` [V,N] from each."""
        similarities = adapted @ self.photos.T
        if apart is not None:
            similarities[apart] = -1.0
        return nearest_mean(similarities, max(1, min(NEAREST, len(self.photos) // 10)))


def hubness_of(photos: Array, products: NDArray[np.int32] | None, images: ShopImages, side: Side) -> Hubness:
    """The hubness of `images` on their `side` among `photos` [N,K], which show `products` [N] where that is known."""
    bank, facts, with_own, without = Bank.of(photos), [], [], []
    for rows in images.parts():
        adapted = side.of(images.vectors(rows))
        own = None if products is None else images.owners[rows][:, np.newaxis] == products
        with_own.append(bank.hubness(adapted))
        without.append(with_own[-1] if own is None else bank.hubness(adapted, own))
        facts.append(features(adapted, bank.mean, bank.factors))
    values, as_new = np.concatenate(with_own), np.concatenate(without)
    midway: Array = np.float32(0.5) * (values + as_new)
    weights = regressed(np.concatenate(facts), midway)
    keys = image_keys(images.stored)
    order = np.argsort(keys, kind="stable")
    least = min(float(values.min()), float(as_new.min()))
    return Hubness(keys[order], values[order], bank.mean, bank.factors, weights, least)


def regressed(facts: Array, values: Array) -> Array:
    """The weights float32 [3] by which `facts` [V,3] give `values` [V], by least squares."""
    found: Array = np.linalg.lstsq(facts, values, rcond=None)[0].astype(np.float32)
    return found


def nearest_mean(similarities: Array, count: int) -> Array:
    """The mean of the `count` largest of each row of `similarities` [V,N], float32 [V]."""
    found: Array = np.partition(similarities, -count, axis=1)[:, -count:].mean(axis=1)
    return found


def principal(centred: Array) -> Array:
    """The directions in which `centred` [N,K] differ most, each as long as their standard deviation, float32 [K,R]."""
    _, deviations, directions = np.linalg.svd(centred / np.sqrt(len(centred)), full_matrices=False)
    kept = min(DIRECTIONS, max(1, len(centred) // 4))
    found: Array = (directions[:kept] * deviations[:kept, np.newaxis]).T.astype(np.float32)
    return np.ascontiguousarray(found)
