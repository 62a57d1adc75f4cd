"""Products -> the columns of a Merchant Center feed, and the check that a reader gets the same product back."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import CatalogRow
from sightline_server.ingest.embedded_parquet import EMBEDDER, EMBEDDINGS
from sightline_server.ingest.feed import parse_record, texts_of
from sightline_server.ingest.feed_rows import FeedRow, ParsedRow
from sightline_server.ingest.feeds.columns import canonical_names, column_name
from sightline_server.ingest.feeds.exact import EXACT, ExactProduct, exact_cell
from sightline_server.ingest.feeds.exporters import recognised
from sightline_server.ingest.feeds.links import looks_like_image_link
from sightline_server.ingest.feeds.records import BAD_CHARACTER, Record, excerpt

STANDARD = (
    *("id", "title", "brand", "product_type", "price", "availability", "link", "image_link", "additional_image_link"),
    *("item_group_id", "gtin"),
)
"""The columns of every export, in their order."""

RESERVED = frozenset({*STANDARD, EXACT, EMBEDDER, EMBEDDINGS})
MAX_COLUMNS = 200
"""Attributes that have a column; the others are in the exact product only."""
MAX_COUNTED = 20_000
SEPARATORS = re.compile(r'[,;|"\t]')

Cells = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a format: characters that it cannot hold, and which attributes may have a column."""

    unfit: Mapping[int, str]
    allowed: Callable[[str], bool]
    attribute_order: bool = False
    """True if the attributes must come back in their order, on which the digest of a catalog depends."""


BAD = {ord(BAD_CHARACTER): "\ufffd"}
CONTROLS = BAD | dict.fromkeys(range(32), " ") | {127: " "}


def cells_of(row: CatalogRow, rules: Rules) -> dict[str, str | list[str]]:
    """The columns of a product, empty ones included; characters that the format cannot hold are replaced."""
    product = row.product
    main = product.image_link or row.images[0]
    cells: dict[str, str | list[str]] = {
        "id": product.id,
        "title": product.title,
        "brand": product.brand,
        "product_type": product.category,
        "price": product.price,
        # A value that is none of the known ones is kept as an attribute.
        "availability": product.availability or product.attributes.get("availability", ""),
        "link": product.link,
        "image_link": main,
        "additional_image_link": [link for link in row.images if link != main],
        "item_group_id": product.item_group_id,
        "gtin": product.gtin,
    }
    cells |= {name: text for name, text in product.attributes.items() if name not in RESERVED and rules.allowed(name)}
    return {name: fit(value, rules.unfit) for name, value in cells.items()}


def fit(value: str | list[str], unfit: Mapping[int, str]) -> str | list[str]:
    """`value` without the characters of `unfit`."""
    return value.translate(unfit) if isinstance(value, str) else [text.translate(unfit) for text in value]


def checked_cells(row: CatalogRow, rules: Rules, reads: Callable[[Cells], Record]) -> Cells:
    """The columns of a product, with the exact product where the others do not say it.

    `reads` writes and reads a row. Raises `SightlineError` of kind INTERNAL where even so another product comes back.
    """
    cells = cells_of(row, rules)
    record = reads(cells)
    if comes_back(row, record, rules):
        return cells
    exact = exact_cell(ExactProduct(row.product, row.price, row.images), texts_of(record.values))
    cells[EXACT] = exact
    if not comes_back(row, reads(cells), rules):
        message = f"product {excerpt(row.product.id)!r} cannot be written in this format"
        raise SightlineError(ErrorKind.INTERNAL, message)
    return cells


def comes_back(row: CatalogRow, record: Record, rules: Rules) -> bool:
    """Returns whether a reader of `record` gets the product of `row`."""
    outcome = parse_record(record)
    return isinstance(outcome, ParsedRow) and same_product(row, outcome.row, rules.attribute_order)


def same_product(row: CatalogRow, read: FeedRow, attribute_order: bool) -> bool:
    """Returns whether `read` is the product of `row`; the order of its attributes counts only if it is asked for."""
    if (row.product, row.price, row.images) != (read.product, read.price, read.images):
        return False
    return not attribute_order or list(row.product.attributes) == list(read.product.attributes)


class AttributeColumns:
    """Counts the attributes of a catalog, and chooses those that have a column in a table."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, texts: Iterable[str | None]) -> None:
        """Counts the attributes of some products, each a JSON object or nothing."""
        for text in texts:
            for name in json.loads(text) if text else ():
                if name in self._counts or len(self._counts) < MAX_COUNTED:
                    self._counts[name] = self._counts.get(name, 0) + 1

    def chosen(self) -> list[str]:
        """The most frequent ones that a reader keeps under their name, in the order in which they were met."""
        usable = [name for name in self._counts if is_column(name)]
        frequent = frozenset(sorted(usable, key=lambda name: -self._counts[name])[:MAX_COLUMNS])
        return unmistaken([name for name in usable if name in frequent])


def is_column(name: str) -> bool:
    """Returns whether a table with the column `name` is read as one that has it, and no other column differently."""
    if name in RESERVED or column_name(name) != name or not name.isprintable() or SEPARATORS.search(name):
        return False
    return canonical_names([*STANDARD, name]) == [*STANDARD, name] and not looks_like_image_link(name)


def unmistaken(names: list[str]) -> list[str]:
    """`names` without those that make the table look like the export of a shop system."""
    while (system := recognised([*STANDARD, *names])) is not None:
        marks = {name for mark in system.marks if mark <= {*STANDARD, *names} for name in mark}
        names = [name for name in names if name not in marks]
    return names
