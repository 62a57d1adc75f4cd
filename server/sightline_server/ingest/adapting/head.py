"""Two matrices, one for photos and one for catalog images, trained on photos whose product is known.

    photos, images, less their means -> their common basis of at most 512 directions -> 512 x 256 each, from identity
Rule: small on purpose. Both start as the identity and are pulled back to it, because a head that is free to move learns
the products of its photos by heart, and loses the others. The loss is the cross entropy of a softmax over the images
of all products that have photos; Adam (Kingma and Ba, 2015) minimises it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import unit

BASIS = 512
BASIS_ROWS = 2048
"""Vectors that the basis is made from."""
DIMENSION = 256
TEMPERATURE = 0.07
STEP = 2e-3
PULL = 3e-3
BATCH = 256
MOST_IMAGES = 8192
"""Images that a photo is compared with in training."""
EPOCHS = (40, 120)
FIRST_MOMENT, SECOND_MOMENT, TINY = 0.9, 0.999, 1e-8

Matrix = NDArray[np.float32]
Tick = Callable[[], None]
"""Called after each epoch; it may raise, which ends the training."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Photos and images less their means, float32 [N,D] and [M,D]; photo n shows the image `shown[n]`, int [N].

    `products` int [M] are those of the images.
    """

    photos: Matrix
    images: Matrix
    shown: NDArray[np.intp]
    products: NDArray[np.int32]


def fit_head(examples: Examples, seed: int, tick: Tick) -> tuple[Matrix, Matrix]:
    """The matrices of photos and of images, float32 [D,K] each."""
    chance = np.random.default_rng(seed)
    directions = basis(np.concatenate([examples.photos, examples.images]), chance)
    size = directions.shape[1]
    photos, images = examples.photos @ directions, examples.images @ directions
    start = np.eye(size, min(DIMENSION, size), dtype=np.float32)
    ways = [start.copy(), start.copy()]
    adam = Adam(ways)
    for _ in range(epochs_for(len(photos), len(np.unique(examples.products[examples.shown])))):
        order = chance.permutation(len(photos))
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            among = compared(examples, batch, chance)
            places = np.searchsorted(among, examples.shown[batch])
            # Other images of the shown product are neither right nor wrong.
            same = examples.products[among] == examples.products[examples.shown[batch], np.newaxis]
            same[np.arange(len(batch)), places] = False
            slopes = gradients(photos[batch], images[among], ways, places, same)
            adam.step([slope + 2 * PULL * (way - start) for slope, way in zip(slopes, ways, strict=True)])
        tick()
    photo_way, image_way = (directions @ way for way in ways)
    return photo_way, image_way


def compared(examples: Examples, batch: NDArray[np.intp], chance: np.random.Generator) -> NDArray[np.intp]:
    """The images that a batch of photos is compared with, ascending: all, or a sample that has those they show."""
    count = len(examples.images)
    if count <= MOST_IMAGES:
        return np.arange(count)
    drawn = chance.choice(count, MOST_IMAGES - len(batch), replace=False)
    return np.union1d(drawn, examples.shown[batch])


def epochs_for(photos: int, products: int) -> int:
    """Passes over the photos: fewer, the more photos a product has."""
    few, many = EPOCHS
    return round(few + (many - few) / math.sqrt(max(1.0, photos / max(1, products))))


def basis(vectors: Matrix, chance: np.random.Generator) -> Matrix:
    """The directions of `vectors` [N,D] in which they differ most, at most `BASIS` of them, float32 [D,K].

    By the Gram matrix of at most `BASIS_ROWS` of them, which takes seconds where a decomposition of all takes minutes.
    """
    if len(vectors) > BASIS_ROWS:
        vectors = vectors[np.sort(chance.choice(len(vectors), BASIS_ROWS, replace=False))]
    values, places = np.linalg.eigh(vectors.astype(np.float64) @ vectors.T.astype(np.float64))
    kept = np.argsort(-values)[:BASIS]
    kept = kept[values[kept] > 1e-8 * max(float(values.max()), 1e-12)]
    return unit(places[:, kept].T.astype(np.float32) @ vectors).T.copy()


def gradients(
    photos: Matrix, images: Matrix, ways: list[Matrix], shown: NDArray[np.intp], left_out: NDArray[np.bool_]
) -> tuple[Matrix, Matrix]:
    """The slopes of the mean cross entropy of `photos` [B,S] against `images` [M,S] with respect to both `ways` [S,K].

    Photo b shows image `shown[b]`, and is not compared with the images that `left_out` [B,M] names.
    """
    flat_photos, flat_images = photos @ ways[0], images @ ways[1]
    photo_lengths, image_lengths = (lengths(each) for each in (flat_photos, flat_images))
    points, targets = flat_photos / photo_lengths, flat_images / image_lengths
    scores = points @ targets.T / TEMPERATURE
    scores[left_out] = -np.inf
    errors = np.exp(scores - scores.max(axis=1, keepdims=True))
    errors /= errors.sum(axis=1, keepdims=True)
    errors[np.arange(len(photos)), shown] -= 1.0
    errors /= len(photos) * TEMPERATURE
    of_points, of_targets = errors @ targets, errors.T @ points
    return (
        photos.T @ through_length(of_points, points, photo_lengths),
        images.T @ through_length(of_targets, targets, image_lengths),
    )


def lengths(vectors: Matrix) -> Matrix:
    """The length of each of `vectors` [N,K], [N,1], never 0."""
    found: Matrix = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12).astype(np.float32)
    return found


def through_length(slopes: Matrix, units: Matrix, before: Matrix) -> Matrix:
    """The slopes with respect to vectors of the lengths `before`, from those with respect to their `units`."""
    found: Matrix = (slopes - units * (slopes * units).sum(axis=1, keepdims=True)) / before
    return found


class Adam:
    """Minimises by the slopes of `values`, which it changes in place."""

    def __init__(self, values: list[Matrix]) -> None:
        self._values = values
        self._firsts = [np.zeros_like(each) for each in values]
        self._seconds = [np.zeros_like(each) for each in values]
        self._steps = 0

    def step(self, slopes: list[Matrix]) -> None:
        """One step against `slopes`."""
        self._steps += 1
        left = 1 - FIRST_MOMENT**self._steps, 1 - SECOND_MOMENT**self._steps
        for value, first, second, slope in zip(self._values, self._firsts, self._seconds, slopes, strict=True):
            first += (1 - FIRST_MOMENT) * (slope - first)
            second += (1 - SECOND_MOMENT) * (slope * slope - second)
            value -= np.float32(STEP) * (first / left[0]) / (np.sqrt(second / left[1]) + TINY)
