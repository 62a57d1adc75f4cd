"""The rows of a feed as the rest of `ingest/` has them, and the problems of rows.

Rule: data only; `feed.py` makes rows of records.
"""

from dataclasses import dataclass
from enum import Enum

from sightline_server.domain.items import Product
from sightline_server.index.schema import Price
from sightline_server.ingest.feeds.records import excerpt


class ProblemKind(Enum):
    """The kinds of problems of a row or one of its parts."""

    MALFORMED_ROW = "malformed row"
    ROW_TOO_LARGE = "row too large"
    NO_ID = "no id"
    DUPLICATE_ID = "duplicate id"
    NO_IMAGE = "no image"
    BAD_PRICE = "price left out"
    BAD_AVAILABILITY = "unknown availability"
    TOO_MANY_IMAGES = "images beyond the first 20 left out"
    TEXT_CUT = "text cut"
    DOUBTFUL_QUOTE = "doubtful quote"
    EDITED_EXPORT = "edited after its export"
    DOUBLED_COLUMN = "doubled column"
    UNREADABLE_IMAGE = "unreadable image"
    UNUSABLE_EMBEDDING = "unusable embedding"
    UNKNOWN_PRODUCT = "unknown product"
    NOTHING_TO_CHANGE = "nothing to change"
    REFUSED = "refused by the server"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of `row`, at `line` of the file (0 if unknown).

    `skipped` is true if the row was lost. Otherwise it is a warning: the product stays, without a part of it.
    """

    row: int
    kind: ProblemKind
    text: str
    product_id: str = ""
    skipped: bool = True
    line: int = 0

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line not in (0, self.row) else ""
        product = f" ({excerpt(self.product_id)})" if self.product_id else ""
        return f"row {self.row}{line}{product}: {self.text}"


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A product of the feed and the links of its images, the main one first."""

    row: int
    product: Product
    price: Price | None
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A row and the warnings about it."""

    row: FeedRow
    warnings: tuple[Problem, ...]
