"""The fields of a collection: what a product shows, and the same in the forms that filters compare.

Rule: one row for each image, with everything of its product, so that one search needs no second collection. Filters
read the forms of `index/filters/texts.py`, as every backend does, so that no comparison is left to Milvus's own rules.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.gtin import to_gtin
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import Catalog
from sightline_server.index.faiss_index import unit_parts
from sightline_server.index.filters.columns import scaled_amounts
from sightline_server.index.filters.texts import LEVELS, attribute_texts, category_path, compared, compared_name
from sightline_server.index.products import group_numbers
from sightline_server.index.schema import DISPLAY_COLUMNS

MOST_BYTES = 65_535
"""Of one text; a limit of Milvus."""
MOST_VALUES = 4_096
"""Of one list; a limit of Milvus."""
TEXTS = ("link_of_image", *DISPLAY_COLUMNS, "brand_form", "availability_form", "currency")
LISTS = ("category_forms", "attribute_forms")
NUMBERS = ("product", "item_group", "gtin_number", "first_image", "amount")
PRIMARY, VECTOR = "image", "vector"
RANKED = ("product", "id", "category", "availability", "item_group")
"""Fields that a neighbour is made of; the rest is read for the products of an answer only."""
SHOWN = ("product", "link_of_image", *DISPLAY_COLUMNS)
Row = dict[str, Any]


def rows_of(catalog: Catalog) -> Iterator[list[Row]]:
    """Every image of `catalog` as rows of a collection, some thousands at a time, in the order of its vectors.

    Raises `SightlineError` of kind INVALID_REQUEST for a text that Milvus has no room for.
    """
    products = ProductRows(catalog)
    image, last = 0, -1
    for vectors in unit_parts(catalog.vectors):
        rows = []
        owners = catalog.owners[image : image + len(vectors)].tolist()
        links = catalog.image_links.slice(image, len(vectors)).to_pylist()
        for place, (owner, link) in enumerate(zip(owners, links, strict=True)):
            first = int(owner != last)
            row = {PRIMARY: image + place, VECTOR: vectors[place], **products.row(owner)}
            rows.append(row | {"link_of_image": checked_text(row["id"], "image", link), "first_image": first})
            last = owner
        image += len(rows)
        yield rows


class ProductRows:
    """The products of `catalog` as fields; the latest one is kept for its next image."""

    def __init__(self, catalog: Catalog) -> None:
        self._display = catalog.display
        self._currencies = catalog.prices["price_currency"]
        self._amounts = scaled_amounts(catalog.prices["price_amount"].combine_chunks())
        self._groups = group_numbers(catalog.display["item_group_id"])
        self._latest: tuple[int, Row] = (-1, {})

    def row(self, product: int) -> Row:
        """The fields of product row `product`, but those of an image."""
        if self._latest[0] != product:
            self._latest = product, self._made(product)
        return self._latest[1]

    def _made(self, product: int) -> Row:
        shown = {name: self._display[name][product].as_py() or "" for name in DISPLAY_COLUMNS}
        row_id = shown["id"]
        currency = self._currencies[product].as_py() or ""
        stated = json.loads(shown["attributes"]) if shown["attributes"] else {}
        attributes = {text for name, value in stated.items() for text in attribute_texts(name, value)}
        texts = {
            **shown,
            "brand_form": compared(shown["brand"]),
            "availability_form": compared_name(shown["availability"]),
            "currency": currency,
        }
        return {
            **{name: checked_text(row_id, name, text) for name, text in texts.items()},
            "category_forms": checked_list(row_id, "category", ancestors(category_path(shown["category"]))),
            "attribute_forms": checked_list(row_id, "attributes", sorted(attributes)),
            "product": product,
            "item_group": int(self._groups[product]),
            "gtin_number": to_gtin(shown["gtin"]),
            "amount": int(self._amounts[product]) if currency else 0,
        }


def ancestors(path: str) -> list[str]:
    """A category path and every category above it; none of an empty one."""
    return list(accumulate(path.split(LEVELS), lambda above, level: above + LEVELS + level)) if path else []


def checked_text(product_id: str, name: str, text: str) -> str:
    """`text`. Raises `SightlineError` of kind INVALID_REQUEST where Milvus has no room for it."""
    if len(text.encode()) > MOST_BYTES:
        raise too_long(product_id, name, f"a text of more than {MOST_BYTES} bytes")
    return text


def checked_list(product_id: str, name: str, texts: list[str]) -> list[str]:
    """`texts`. Raises `SightlineError` of kind INVALID_REQUEST where Milvus has no room for them."""
    if len(texts) > MOST_VALUES:
        raise too_long(product_id, name, f"more than {MOST_VALUES} values")
    return [checked_text(product_id, name, text) for text in texts]


def too_long(product_id: str, name: str, what: str) -> SightlineError:
    """The error of a product that Milvus has no room for."""
    message = f"product {product_id!r}: {name} has {what}, which Milvus does not store; shorten it in the feed"
    return SightlineError(ErrorKind.INVALID_REQUEST, message)


def digest_of(row: Mapping[str, Any]) -> str:
    """SHA-256 of all fields and of the vector, float32, of one row as it is pushed or read."""
    vector: NDArray[np.float32] = np.asarray(row[VECTOR], np.float32)
    values = [row[name] for name in (PRIMARY, *NUMBERS, *TEXTS)] + [list(row[name]) for name in LISTS]
    return sha256(json.dumps(values).encode() + vector.tobytes()).hexdigest()
