"""The products of a catalog as writers give them and readers get them."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of money: at most 14 digits before the point and 4 after it, and an ISO 4217 code."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass(frozen=True, slots=True, eq=False)
class CatalogRow:
    """A product with its images: `embeddings` is float32 [len(images),D], L2-normalised; 1 to 20 images.

    An image with two views has two embeddings, and its link is twice in `images`. With `embedder` it is stored only
    where the catalog still has the embedder that made them, and with `views` only where its images still have so
    many; 0 is any number. `originals` names the kept file of each image, as `KeptOriginals.add` returned it, and
    `features` that of its local features; a row that is read has none.
    """

    product: Product
    price: Price | None
    images: tuple[str, ...]
    embeddings: NDArray[np.float32]
    embedder: EmbedderSpec | None = None
    originals: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    views: int = 0


@dataclass(frozen=True, slots=True)
class ProductUpdate:
    """New values of a product's fields; what is not named stays. `price` replaces both the text and the amount."""

    id: str
    texts: Mapping[str, str]
    price: Price | None = None
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """A product as its catalog stores it: with the links of its images, and an etag that changes whenever it does."""

    product: Product
    images: tuple[str, ...]
    etag: str
