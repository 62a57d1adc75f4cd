"""Records -> feed rows: what the columns of a Merchant Center feed mean.

Rule: a row is right or it is a `Problem` with its row number; nothing is guessed, and no column is lost: what has no
place of its own in a `Product` stands in its attributes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path

from sightline_server.domain.items import Product
from sightline_server.index.schema import MAX_IMAGES, Price
from sightline_server.ingest.tables import Record, read_records

PRICE = re.compile(r"([0-9]{1,14}(?:\.[0-9]{1,4})?)\s*([A-Za-z]{3})")
PLACED = frozenset(
    {
        *("id", "title", "brand", "product_type", "price", "availability", "link", "item_group_id", "gtin"),
        *("image_link", "additional_image_link"),
    }
)


class ProblemKind(Enum):
    """What can be wrong with a row or one of its pictures."""

    MALFORMED_ROW = "malformed row"
    NO_ID = "no id"
    DUPLICATE_ID = "duplicate id"
    BAD_PRICE = "bad price"
    NO_IMAGE = "no image"
    TOO_MANY_IMAGES = "too many images"
    UNREADABLE_IMAGE = "unreadable image"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in `row`. `skipped` says whether it cost the row, or one of its pictures only."""

    row: int
    kind: ProblemKind
    text: str
    product_id: str = ""
    skipped: bool = True

    def __str__(self) -> str:
        product = f" ({self.product_id})" if self.product_id else ""
        return f"row {self.row}{product}: {self.text}"


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A product of the feed and the links of its pictures, the main one first."""

    row: int
    product: Product
    price: Price | None
    images: tuple[str, ...]


def read_feed(feed: Path) -> Iterator[FeedRow | Problem]:
    """The rows of `feed`, in order. The first row of an id counts. Raises as `tables.read_records`."""
    first_rows: dict[str, int] = {}
    for record in read_records(feed):
        outcome = parse_row(record)
        if isinstance(outcome, FeedRow):
            product_id = outcome.product.id
            first = first_rows.setdefault(product_id, record.row)
            if first != record.row:
                text = f"the id stands in row {first} already"
                outcome = Problem(record.row, ProblemKind.DUPLICATE_ID, text, product_id)
        yield outcome


def parse_row(record: Record) -> FeedRow | Problem:
    """The row of one record."""
    if record.fault:
        return Problem(record.row, ProblemKind.MALFORMED_ROW, record.fault)
    values = {name: text for name, value in record.values.items() if name and (text := as_text(value))}
    product_id = values.get("id", "")
    if not product_id:
        return Problem(record.row, ProblemKind.NO_ID, "there is no id")
    price = parse_price(values.get("price", ""))
    if price is None and "price" in values:
        text = "the price is not an amount and a currency, such as 15.00 USD"
        return Problem(record.row, ProblemKind.BAD_PRICE, text, product_id)
    images = image_links(record.values)
    if not images:
        return Problem(record.row, ProblemKind.NO_IMAGE, "there is no image_link", product_id)
    if len(images) > MAX_IMAGES:
        text = f"{len(images)} pictures, at most {MAX_IMAGES} are taken"
        return Problem(record.row, ProblemKind.TOO_MANY_IMAGES, text, product_id)
    return FeedRow(record.row, to_product(values, price, images[0]), price, images)


def to_product(values: Mapping[str, str], price: Price | None, image_link: str) -> Product:
    """The product of a row's texts."""
    return Product(
        id=values["id"],
        title=values.get("title", ""),
        brand=values.get("brand", ""),
        category=values.get("product_type", ""),
        price=str(price) if price else "",
        availability="_".join(values.get("availability", "").lower().split()),
        link=values.get("link", ""),
        image_link=image_link,
        item_group_id=values.get("item_group_id", ""),
        gtin=values.get("gtin", ""),
        attributes={name: text for name, text in values.items() if name not in PLACED},
    )


def parse_price(text: str) -> Price | None:
    """The price of `15.00 USD`; None for anything else."""
    match = PRICE.fullmatch(text)
    return Price(Decimal(match[1]), match[2].upper()) if match else None


def image_links(values: Mapping[str, object]) -> tuple[str, ...]:
    """The links of a row's pictures, each once: `image_link`, then `additional_image_link` (a list, or with commas)."""
    additional = values.get("additional_image_link")
    parts = additional if isinstance(additional, list) else as_text(additional).split(",")
    links = [as_text(values.get("image_link")), *(as_text(part) for part in parts)]
    return tuple(dict.fromkeys(link for link in links if link))


def as_text(value: object) -> str:
    """A value as the feed's text form writes it; absent values are empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        # A column of whole numbers with a gap in it becomes floats in many tools: gtins must survive that.
        return str(int(value))
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := as_text(item)))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
