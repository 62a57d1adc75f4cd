"""The exact product of an exported row, where the ordinary columns of a feed cannot say it: column `sightline_product`.

Examples are a title that ends with a blank, an attribute whose name a feed would change, and `1.234 EUR`, which can be
read in two ways.
Rule: the exact product counts only while the other columns are as they were exported (`mark`). A row that was edited
since then is read as any other feed's row.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sightline_server.domain.items import Product
from sightline_server.index.schema import MAX_IMAGES, Price

EXACT = "sightline_product"
"""The name of the column."""
TEXTS = ("id", "title", "brand", "category", "price", "availability", "link", "image_link", "item_group_id", "gtin")
MARK_DIGITS = 16
AMOUNT = re.compile(r"[0-9]{1,14}(?:\.[0-9]{1,4})?")
CURRENCY = re.compile(r"[A-Z]{3}")
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ExactProduct:
    """A product with its price and the links of its images, as a catalog has them."""

    product: Product
    price: Price | None
    images: tuple[str, ...]


def mark_of(texts: Mapping[str, str]) -> str:
    """A digest of a row's other columns, as `texts_of` gives them, whatever their order."""
    other = sorted((name, text) for name, text in texts.items() if name != EXACT)
    return hashlib.sha256(json.dumps(other).encode()).hexdigest()[:MARK_DIGITS]


def exact_cell(exact: ExactProduct, texts: Mapping[str, str]) -> str:
    """The value of the column for a row whose other columns are `texts`: one line of JSON in ASCII."""
    product, price = exact.product, exact.price
    values: dict[str, Any] = {name: text for name in TEXTS if (text := getattr(product, name))}
    if product.attributes:
        values["attributes"] = dict(product.attributes)
    if price is not None:
        values |= {"amount": f"{price.amount:f}", "currency": price.currency}
    return json.dumps({"mark": mark_of(texts), "images": list(exact.images), **values})


def read_exact(cell: str, texts: Mapping[str, str]) -> ExactProduct | None:
    """The product of a cell; None where the row was edited since its export, or the cell is malformed."""
    try:
        values = json.loads(cell)
        if not isinstance(values, dict) or values.pop("mark", None) != mark_of(texts):
            return None
        return product_of(values)
    except (ValueError, TypeError, RecursionError):
        return None


def product_of(values: dict[str, Any]) -> ExactProduct | None:
    """The product of a cell's values; None where they are not those of a product."""
    price = price_of(values.pop("amount", None), values.pop("currency", None))
    images, attributes = values.pop("images", None), values.pop("attributes", {})
    if not texts_only(images, list) or not texts_only(attributes, dict) or not texts_only(values, dict):
        return None
    if not values.get("id") or len(images) > MAX_IMAGES or not all(images):
        return None
    return ExactProduct(Product(**values, attributes=attributes), price, tuple(images))


def price_of(amount: object, currency: object) -> Price | None:
    """The price of an amount and a currency; None where both are absent. Raises `ValueError` for anything else."""
    if amount is None and currency is None:
        return None
    if not isinstance(amount, str) or not isinstance(currency, str):
        raise ValueError("a price is an amount and a currency")
    if not AMOUNT.fullmatch(amount) or not CURRENCY.fullmatch(currency):
        raise ValueError("a price is an amount and a currency")
    return Price(Decimal(amount), currency)


def texts_only(values: object, kind: type) -> bool:
    """Returns whether `values` is a list or an object, as `kind` says, of texts that UTF-8 can hold."""
    if not isinstance(values, kind) or not isinstance(values, list | dict):
        return False
    parts = [*values, *values.values()] if isinstance(values, dict) else values
    return all(isinstance(part, str) and not SURROGATE.search(part) for part in parts)
