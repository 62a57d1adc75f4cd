"""Records -> feed rows: the meaning of a Merchant Center feed's columns.

Rule: a row is a product, with a warning for each part of it that is left out, or a `Problem` with its row number.
Nothing is guessed, and no column is lost: what has no field in a `Product` becomes one of its attributes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from sightline_server.domain.items import Product
from sightline_server.index.schema import MAX_IMAGES, Price
from sightline_server.ingest.feed_rows import FeedRow, ParsedRow, Problem, ProblemKind
from sightline_server.ingest.feeds.availability import availability_value
from sightline_server.ingest.feeds.exact import EXACT, ExactProduct, read_exact
from sightline_server.ingest.feeds.image_links import IMAGES, image_links, joined
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat
from sightline_server.ingest.feeds.prices import PriceError, PriceRules, parse_price, stated_currency
from sightline_server.ingest.feeds.reader import read_records
from sightline_server.ingest.feeds.records import Record, excerpt
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.feeds.texts import as_text, first_text, is_readable

MAX_TITLE_CHARS = 1000
MAX_DESCRIPTION_CHARS = 5000
MAX_ROW_BYTES = 64 * 1024

FIRST_OF_LIST = frozenset({"product_type", "gtin", "id", "title", "brand", "link"})
PLACED = frozenset(
    {*("id", "title", "brand", "product_type", "price", "availability", "link", "item_group_id", "gtin"), *IMAGES}
)
CURRENCY_COLUMNS = ("currency", "currency_code", "price_currency", "currency_id")


def read_feed(feed: OpenFeed | Path, options: FeedOptions | None = None) -> Iterator[FeedRow | Problem]:
    """The rows of `feed`, in order, each followed by its warnings. The first row of an id counts.

    Raises as `reader.read_records`.
    """
    options = options or FeedOptions()
    first_rows: dict[str, int] = {}
    for record in read_records(feed, options):
        if record.notice:
            yield from remarks(record)
            continue
        outcome = parse_record(record, options)
        if isinstance(outcome, Problem):
            yield outcome
            continue
        product_id = outcome.row.product.id
        first = first_rows.setdefault(product_id, record.row)
        if first != record.row:
            text = f"the id is the same as in row {first}"
            yield Problem(record.row, ProblemKind.DUPLICATE_ID, text, product_id, line=record.line)
            continue
        yield outcome.row
        yield from outcome.warnings


def remarks(record: Record) -> Iterator[Problem]:
    """The remarks about the feed as a whole."""
    for text in record.warnings:
        yield Problem(record.row, ProblemKind.DOUBLED_COLUMN, text, skipped=False, line=record.line)


def parse_record(record: Record, options: FeedOptions | None = None) -> ParsedRow | Problem:
    """The row of one record. Whatever is wrong with it, it is a `Problem` of this row only."""
    try:
        return RowParser(record, options or FeedOptions()).parse()
    except Exception as error:
        # Whatever one row holds, the other rows are read.
        text = f"cannot be read ({type(error).__name__})"
        return Problem(record.row, ProblemKind.MALFORMED_ROW, text, line=record.line)


class RowParser:
    """Parses one record and collects warnings on the way."""

    def __init__(self, record: Record, options: FeedOptions) -> None:
        self._record = record
        self._options = options
        self._warnings: list[Problem] = []
        self._id = ""

    def parse(self) -> ParsedRow | Problem:
        """The row, or its problem."""
        record = self._record
        if record.fault:
            return self._problem(ProblemKind.MALFORMED_ROW, record.fault)
        values = texts_of(record.values)
        if cell := values.pop(EXACT, ""):
            if exact := read_exact(cell, values):
                return self._exact(exact)
            text = f"the row was edited after its export; its {EXACT} is left out"
            self._warn(ProblemKind.EDITED_EXPORT, text)
        if not all(is_readable(text) for text in values.values()):
            text = "has characters that the encoding does not allow; if many rows do, set the encoding with --encoding"
            return self._problem(ProblemKind.MALFORMED_ROW, text)
        self._id = values.get("id", "")
        if not self._id:
            return self._problem(ProblemKind.NO_ID, "there is no id")
        images = self._images()
        if not images and self._options.images_required:
            return self._problem(ProblemKind.NO_IMAGE, "there is no image_link")
        for text in record.warnings:
            self._warn(ProblemKind.DOUBTFUL_QUOTE, text)
        self._cut(values, "title", MAX_TITLE_CHARS)
        self._cut(values, "description", MAX_DESCRIPTION_CHARS)
        # The names as well: each column without a field in a product becomes one of its attributes.
        if fault := self._size_fault((*values, *values.values(), *images)):
            return fault
        price = self._price(values)
        product = self._product(values, price, images[0] if images else "")
        return ParsedRow(FeedRow(record.row, product, price, images), tuple(self._warnings))

    def _exact(self, exact: ExactProduct) -> ParsedRow | Problem:
        """The row of an exact product, with the limits of any other row."""
        product, images = exact.product, self._joined(exact.images)
        self._id = product.id
        if not images and self._options.images_required:
            return self._problem(ProblemKind.NO_IMAGE, "there is no image_link")
        names = (*("title", "brand", "category", "price", "availability", "link"), *("item_group_id", "gtin"))
        texts = [getattr(product, name) for name in names]
        attributes = product.attributes
        if fault := self._size_fault((product.id, *texts, *attributes, *attributes.values(), *images)):
            return fault
        return ParsedRow(FeedRow(self._record.row, product, exact.price, images), tuple(self._warnings))

    def _size_fault(self, texts: Sequence[str]) -> Problem | None:
        """The problem of a row with too many bytes of text; None for any other."""
        size = sum(len(text.encode()) for text in texts)
        if size <= MAX_ROW_BYTES:
            return None
        return self._problem(ProblemKind.ROW_TOO_LARGE, f"{size} bytes of text; at most {MAX_ROW_BYTES} are allowed")

    def _problem(self, kind: ProblemKind, text: str) -> Problem:
        return Problem(self._record.row, kind, text, self._id, line=self._record.line)

    def _warn(self, kind: ProblemKind, text: str) -> None:
        self._warnings.append(replace(self._problem(kind, text), skipped=False))

    def _cut(self, values: dict[str, str], name: str, limit: int) -> None:
        text = values.get(name, "")
        if len(text) > limit:
            values[name] = text[:limit].rstrip()
            self._warn(ProblemKind.TEXT_CUT, f"the {name} has {len(text)} characters, the first {limit} are kept")

    def _images(self) -> tuple[str, ...]:
        images = self._absolute(image_links(self._record.values))
        if len(images) > MAX_IMAGES:
            text = f"{len(images)} images, the first {MAX_IMAGES} are taken"
            self._warn(ProblemKind.TOO_MANY_IMAGES, text)
        return images[:MAX_IMAGES]

    def _absolute(self, links: tuple[str, ...]) -> tuple[str, ...]:
        """Links as seen from the feed's own address, where it has one, each once."""
        return tuple(dict.fromkeys(self._joined(links))) if self._options.base_url else links

    def _joined(self, links: tuple[str, ...]) -> tuple[str, ...]:
        """As `_absolute`, those of an exact product, which may have a link for each of several embeddings."""
        base_url = self._options.base_url
        return tuple(joined(base_url, link) for link in links) if base_url else links

    def _price(self, values: Mapping[str, str]) -> Price | None:
        text = values.get("price", "")
        if not text:
            return None
        raw = self._record.values.get("price")
        if isinstance(raw, float):
            # A sum such as 0.1 + 0.2 has 17 digits; a double holds 15 of them for certain.
            text = f"{Decimal(f'{raw:.15g}'):f}"
        # The amounts of JSON and Parquet have a decimal point by definition.
        price_format = self._options.price_format if isinstance(raw, str) else PriceFormat.POINT
        column = next((values[name] for name in CURRENCY_COLUMNS if name in values), "")
        currency = stated_currency(column, self._options.currency)
        rules = PriceRules(price_format, currency)
        try:
            return parse_price(text, rules)
        except PriceError as error:
            unknown = "" if currency or not column else f" (its currency {excerpt(column)!r} is not one known code)"
            self._warn(ProblemKind.BAD_PRICE, f"{error}{unknown}")
            return None

    def _product(self, values: Mapping[str, str], price: Price | None, image_link: str) -> Product:
        attributes = {name: text for name, text in values.items() if name not in PLACED}
        stated = values.get("availability", "")
        availability = availability_value(stated) or ""
        if stated and not availability:
            attributes["availability"] = stated
            text = f"the availability {excerpt(stated)!r} is unknown; it is kept as an attribute"
            self._warn(ProblemKind.BAD_AVAILABILITY, text)
        return Product(
            id=self._id,
            title=values.get("title", ""),
            brand=values.get("brand", ""),
            category=values.get("product_type", ""),
            price=str(price) if price else "",
            availability=availability,
            link=values.get("link", ""),
            image_link=image_link,
            item_group_id=values.get("item_group_id", ""),
            gtin=values.get("gtin", ""),
            attributes=attributes,
        )


def texts_of(values: Mapping[str, object]) -> dict[str, str]:
    """The texts of a record by name, without empty ones."""
    texts = {}
    for name, value in values.items():
        text = first_text(value) if name in FIRST_OF_LIST else as_text(value)
        if name and text:
            texts[name] = text
    return texts
