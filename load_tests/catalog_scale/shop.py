"""Synthetic catalogs: products around some centres, with attributes that let 50 %, 5 % and 0.1 % of them through."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import AttributeCondition, Filter
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter

CHUNK = 4096
PER_CLUSTER = 50
SPREAD = 0.7
"""Length of the step from a centre to one of its products; their cosine is then about 0.8."""
SHARES = {"50%": 2, "5%": 20, "0.1%": 1000}
"""Name of a filter -> one of so many products matches."""


@dataclass(frozen=True, slots=True)
class Size:
    """A number of products with one image each, and of numbers in an embedding."""

    products: int
    dimension: int

    def __str__(self) -> str:
        return f"{self.products} x {self.dimension}"

    @property
    def embedder(self) -> EmbedderSpec:
        """The embedder that the catalog names; it does not exist."""
        return EmbedderSpec("synthetic", "1", 224, 224, self.dimension, sha256="5c" * 32)


def filter_of(name: str) -> Filter:
    """The filter of one of `SHARES`."""
    return Filter(attributes=(AttributeCondition(f"one_of_{SHARES[name]}", ("0",)),))


def matches(name: str, products: int) -> NDArray[np.bool_]:
    """A mask of the products that `filter_of` lets through, by the number in their id, bool [P]."""
    matching: NDArray[np.bool_] = scattered(np.arange(products)) % SHARES[name] == 0
    return matching


def scattered(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each of `numbers` with its bits mixed, so that remainders of it are independent of the order of products."""
    return (numbers * 2_654_435_761 >> 7) & 0xFFFF_FFFF


def write_shop(out: Path, size: Size, embedder: EmbedderSpec | None = None) -> None:
    """Builds the catalog `out`, as one of `embedder` where a server that has it is to take it."""
    with CatalogWriter(out, embedder or size.embedder, replace=False) as writer:
        for rows in chunks(size):
            writer.add(rows)
        writer.publish(datetime.now(UTC))


def chunks(size: Size) -> Iterator[list[CatalogRow]]:
    """All products, the same ones each time."""
    random = np.random.default_rng(0)
    centres = unit(random.standard_normal((max(1, size.products // PER_CLUSTER), size.dimension), np.float32))
    for first in range(0, size.products, CHUNK):
        count = min(CHUNK, size.products - first)
        steps = random.standard_normal((count, size.dimension), np.float32) / np.float32(np.sqrt(size.dimension))
        vectors = unit(centres[random.integers(0, len(centres), count)] + np.float32(SPREAD) * steps)
        mixed = scattered(np.arange(first, first + count)).tolist()
        yield [product(first + place, mixed[place], vectors[place]) for place in range(count)]


def name_of(number: int) -> str:
    """The id of product `number`."""
    return f"p{number:08}"


def number_of(product_id: str) -> int:
    """The number of a product."""
    return int(product_id[1:])


def product(number: int, mixed: int, vector: NDArray[np.float32]) -> CatalogRow:
    """One product."""
    name = name_of(number)
    attributes = {f"one_of_{share}": str(mixed % share) for share in SHARES.values()}
    return CatalogRow(Product(name, title=f"Product {number}", attributes=attributes), None, (name,), vector[None])


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with length 1."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
