"""The products that a catalog gets and has, and what became of a write.

Rule: plain frozen values without protobuf or gRPC. Images and embeddings are left out of their `repr`, so that none
reaches a log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Final, Literal, TypeAlias

from sightline_client.errors import SightlineError


@dataclass(frozen=True, slots=True)
class Price:
    """An exact amount of money and its currency (ISO 4217), such as `Price(Decimal("15.00"), "USD")`."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"


@dataclass(frozen=True, slots=True)
class Embedding:
    """A ready embedding of one image. `embedder` is the identity of the model, as `CatalogInfo.embedder` has it."""

    embedder: str
    values: Sequence[float] = field(repr=False)
    """As many numbers as the catalog's vectors have, of length 1 (L2)."""


ImageContent: TypeAlias = bytes | bytearray | memoryview | Embedding
"""The bytes of an image file, or an embedding that was made elsewhere."""


@dataclass(frozen=True, slots=True)
class ProductImage:
    """An image of a product, with the link by which results show it. A product that is read has the links only."""

    content: ImageContent | None = field(default=None, repr=False)
    link: str = ""
    """The text that search results show as `matched_image`; the product's `image_link` if empty."""


@dataclass(frozen=True, slots=True)
class CatalogProduct:
    """A product with its images, the main one first. Field names are those of the Merchant Center feed.

    `category` is the feed's `product_type`. With an `etag`, a write replaces only the product that has it.
    """

    id: str
    images: Sequence[ProductImage | ImageContent] = field(default=(), repr=False)
    """1 to 20 for a write."""
    title: str = ""
    brand: str = ""
    category: str = ""
    price: Price | None = None
    availability: str = ""
    """in_stock, out_of_stock, preorder or backorder."""
    link: str = ""
    image_link: str = ""
    item_group_id: str = ""
    gtin: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""


class Keep(Enum):
    """The type of `KEEP`."""

    KEEP = "keep"


Kept: TypeAlias = Literal[Keep.KEEP]
KEEP: Final = Keep.KEEP
"""The value of a field that an update leaves as it is."""


@dataclass(frozen=True, slots=True)
class ProductUpdate:
    """New values of a product's fields. What is `KEEP` stays; empty texts and a price of None are removed.

    `attributes` replaces all of them. With an `etag`, only the product that has it is changed.
    """

    id: str
    title: str | Kept = KEEP
    brand: str | Kept = KEEP
    category: str | Kept = KEEP
    price: Price | Kept | None = KEEP
    availability: str | Kept = KEEP
    link: str | Kept = KEEP
    item_group_id: str | Kept = KEEP
    gtin: str | Kept = KEEP
    attributes: Mapping[str, str] | Kept = KEEP
    etag: str = ""


@dataclass(frozen=True, slots=True)
class ProductDeletion:
    """A product to delete; with an `etag`, only if the product has it."""

    id: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class ProductStatus:
    """The outcome of one product of a write: `index` is its position in what was given, from 0.

    `error` is None when the product was written, or would be with `validate_only`. Then the write is on the disk, and
    in every search that starts later.
    """

    index: int
    id: str
    error: SightlineError | None = None

    @property
    def ok(self) -> bool:
        """True if the product was written."""
        return self.error is None
