"""The fields of a collection: what a product shows, and the same in the forms that filters compare.

Rule: one row for each image, with everything of its product, so that one search needs no second collection. Filters
read the forms of `index/filters/texts.py`, as every backend does, so that no comparison is left to Milvus's own rules.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b, sha256
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.gtin import to_gtin
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.faiss_index import unit_parts
from sightline_server.index.filters.columns import scaled_amounts
from sightline_server.index.filters.texts import LEVELS, attribute_texts, category_path, compared, compared_name
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.schema import DISPLAY_COLUMNS

MOST_BYTES = 65_535
"""Of one text; a limit of Milvus."""
MOST_VALUES = 4_096
"""Of one list; a limit of Milvus."""
INSERT_ROWS = 500
INSERT_BYTES = 16 << 20
"""Of one call, about; Milvus takes 64 MB."""
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
    products = ProductRows(catalog.display, catalog.prices)
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


def in_calls(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """`rows` in order, as many together as one call takes."""
    part: list[Row] = []
    size = 0
    for row in rows:
        more = row[VECTOR].nbytes + sum(len(row[name].encode()) for name in TEXTS)
        more += sum(len(text.encode()) for name in LISTS for text in row[name])
        if part and (len(part) == INSERT_ROWS or size + more > INSERT_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += more
    if part:
        yield part


class ProductRows:
    """The products of `display` and `prices`, which are as in a `Catalog`, as fields.

    `numbers` are their numbers in Milvus; without them they are counted. The latest one is kept for its next image.
    """

    def __init__(self, display: pa.Table, prices: pa.Table, numbers: Sequence[int] | None = None) -> None:
        self._display = display
        self._currencies = prices["price_currency"]
        self._amounts = scaled_amounts(prices["price_amount"].combine_chunks())
        self._numbers = range(len(display)) if numbers is None else numbers
        self._latest: tuple[int, Row] = (-1, {})

    def row(self, product: int) -> Row:
        """The fields of product row `product`, but those of an image."""
        if self._latest[0] != product:
            self._latest = product, self._made(product)
        return self._latest[1]

    def _made(self, product: int) -> Row:
        number = self._numbers[product]
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
            "product": number,
            "item_group": group_number(shown["item_group_id"], number),
            "gtin_number": to_gtin(shown["gtin"]),
            "amount": int(self._amounts[product]) if currency else 0,
        }


def group_number(item_group_id: str, product: int) -> int:
    """A number that products of the same item group share, and a negative one that no other product has without one.

    It follows from the text alone, so that rows that are written later need not know the rows that are there.
    """
    if not item_group_id:
        return -1 - product
    return int.from_bytes(blake2b(item_group_id.encode(), digest_size=8).digest(), "big") >> 1


def ancestors(path: str) -> list[str]:
    """A category path and every category above it; none of an empty one."""
    return list(accumulate(path.split(LEVELS), lambda above, level: above + LEVELS + level)) if path else []


def require_room(product: Product, links: Sequence[str]) -> None:
    """Raises `SightlineError` of kind INVALID_REQUEST where Milvus has no room for a text of the product or a link."""
    for name in DISPLAY_COLUMNS:
        if name != "attributes":
            checked_text(product.id, name, getattr(product, name))
    for link in links:
        checked_text(product.id, "image", link)
    checked_list(product.id, "category", ancestors(category_path(product.category)))
    require_room_for_attributes(product.id, product.attributes)


def require_room_for_attributes(product_id: str, attributes: Mapping[str, str]) -> None:
    """Raises as `require_room`."""
    checked_text(product_id, "attributes", json.dumps(dict(attributes), ensure_ascii=False))
    texts = {text for name, value in attributes.items() for text in attribute_texts(name, value)}
    checked_list(product_id, "attributes", sorted(texts))


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
