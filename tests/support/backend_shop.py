"""The products that the contract suite of the backends searches, and what it reads of an answer."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.catalog_rows import CatalogRow, Price
from sightline_server.domain.items import Neighbour, Product
from sightline_server.ports import Snapshot
from tests.support.catalogs import DIMENSION, unit_vectors

HOSTILE = ["O'Neill", 'a "b" \\ c', "100% _x_ %", "é漢 ﬁ", "x\x1fy\n", '"] or id != ["', "{}[]()$&|;--", "\\", "null"]
"""Texts that a filter must compare as they are, whatever a backend makes of quotes, escapes and wildcards."""
AHEAD: list[list[CatalogRow]] = []
"""The catalogs that tests of the imported modules search, in the order of the tests."""


def ahead(rows: list[CatalogRow]) -> list[CatalogRow]:
    """Notes a catalog of a module, so that a backend which takes seconds to make it can begin early; returns it."""
    AHEAD.append(rows)
    return rows


def product(product_id: str, vectors: NDArray[np.float32], price: str = "", **fields: Any) -> CatalogRow:
    """A product with one image for each of `vectors`; `price` such as `12.50 USD`."""
    images = tuple(f"{product_id}/{number}.jpg" for number in range(len(vectors)))
    amount, _, currency = price.partition(" ")
    parsed = Price(Decimal(amount), currency) if price else None
    return CatalogRow(Product(product_id, price=price, **fields), parsed, images, vectors)


def many(count: int, seed: int = 1, dimension: int = DIMENSION) -> list[CatalogRow]:
    """`count` products of one to five images, whose other fields follow from their number; ids are in no order."""
    images = np.random.default_rng(seed).integers(1, 6, count)
    vectors = np.split(unit_vectors(int(images.sum()), seed, dimension), np.cumsum(images)[:-1])
    return [
        product(
            f"p{(number * 7919) % 100_003:06}",
            part,
            f"{number % 50}.{number % 4}5 {('USD', 'EUR')[number % 2]}" if number % 7 else "",
            title=f"Product {number}",
            brand=("Norrvik", "Ödland", "", *HOSTILE)[number % (3 + len(HOSTILE))],
            category=("Furniture > Chairs", "Furniture > Chairs > Stools", "Furniture", "Décor", "")[number % 5],
            availability=("in_stock", "out of stock", "")[number % 3],
            item_group_id=f"g{number % 23}" if number % 4 else "",
            link=f"https://shop.example/{number}",
            image_link=f"https://shop.example/{number}.jpg",
            gtin="4006381333931" if number in (3, 4) else "",
            attributes={"color": ("Red/Blue", "green")[number % 2], "size": str(number % 10)},
        )
        for number, part in enumerate(vectors)
    ]


MANY = ahead(many(300))
"""The catalog of every test that needs any products."""


def direction(*numbers: float) -> NDArray[np.float32]:
    """One vector float32 [1,D] of length 1 that begins with `numbers`."""
    vector = np.zeros((1, DIMENSION), np.float32)
    vector[0, : len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def near(similarity: float, to: int = 0, aside: int = 1) -> NDArray[np.float32]:
    """One vector float32 [1,D] whose similarity to axis `to` is `similarity`."""
    vector = np.zeros((1, DIMENSION), np.float32)
    vector[0, to], vector[0, aside] = similarity, np.sqrt(1 - similarity**2)
    return vector


def ids(found: Sequence[Neighbour]) -> list[str]:
    """The product ids of an answer, in order."""
    return [each.product_id for each in found]


async def ids_of(snapshot: Snapshot, k: int = 1000) -> set[str]:
    """The ids of every product that `snapshot` may return."""
    [found] = await snapshot.nearest(unit_vectors(1, 77), k)
    return set(ids(found))
