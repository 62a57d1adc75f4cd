"""A shop whose photos and catalog images are two clouds of embeddings, for tests of adapters.

Each product is a random direction. All images have one offset in common, and all photos another one: these are what an
adapter takes off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting.fitting import ShopPhotos
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.nearness import nearest_products

DIMENSION = 48
PHOTO_SPEC = EmbedderSpec("of-photos", "1", 4, 4, DIMENSION, sha256="cd" * 32)


@dataclass(frozen=True)
class PhotographedShop:
    """One image of each of `products`, and `each` photos of it; photo n shows product `shown[n]`."""

    looks: NDArray[np.float32]
    images: NDArray[np.float32]
    photos: NDArray[np.float32]
    shown: NDArray[np.int32]

    def shop_images(self) -> ShopImages:
        return ShopImages(self.images.astype(np.float16), np.arange(len(self.images), dtype=np.int32))

    def shop_photos(self, *, labelled: bool, products: Sequence[int] | None = None) -> ShopPhotos:
        """All photos, or those of some products."""
        kept = np.isin(self.shown, np.arange(len(self.images)) if products is None else products)
        return ShopPhotos(self.photos[kept], self.shown[kept] if labelled else None)


def photographed_shop(
    products: int = 60,
    each: int = 4,
    *,
    seed: int = 1,
    apart: float = 1.2,
    noise: float = 1.2,
    directions: int = 8,
    small: float = 0.8,
) -> PhotographedShop:
    """A shop whose clouds lie `apart`, with photos that differ from what their product looks like.

    By `noise` in a few `directions`, which all products share, and by `small` in all of them.
    """
    chance = np.random.default_rng(seed)
    looks = chance.standard_normal((products, DIMENSION))
    # What changes from photo to photo lies in few directions: light, background, distance.
    changes = chance.standard_normal((directions, DIMENSION))
    of_images, of_photos = apart * np.sqrt(DIMENSION) * unit(chance.standard_normal((2, DIMENSION)))
    shown = np.repeat(np.arange(products), each)
    changed = noise * chance.standard_normal((len(shown), directions)) @ changes
    everywhere = small * chance.standard_normal((len(shown), DIMENSION))
    images = unit(looks + 0.5 * chance.standard_normal(looks.shape) + of_images)
    photos = unit(looks[shown] + changed / np.sqrt(8) * 2 + everywhere + of_photos)
    return PhotographedShop(
        looks.astype(np.float32), images.astype(np.float32), photos.astype(np.float32), shown.astype(np.int32)
    )


def first_products(
    photos: NDArray[np.float32], images: ShopImages, adapter: Adapter | None = None
) -> NDArray[np.int32]:
    """The first product for each of the embeddings `photos` [N,D]."""
    return nearest_products(photos, images, 1, adapter).products[:, 0]


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
