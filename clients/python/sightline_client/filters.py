"""Conditions that products must meet to be returned.

Rule: values only. A list is met by any one of its values, an empty one sets no condition, and every condition that is
set must be met. The server decides what text is equal: it ignores letter case, and compares ids exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Prices in `currency` (ISO 4217) within the bounds, both included; None sets no bound."""

    currency: str
    minimum: float | Decimal | None = None
    maximum: float | Decimal | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """The conditions of a search; `parse_filter` makes one of text such as `brand=Norrvik price<=50 USD available`."""

    brands: Sequence[str] = ()
    categories: Sequence[str] = ()
    """Prefixes in whole levels, such as "Furniture > Chairs"."""
    prices: Sequence[PriceRange] = ()
    availabilities: Sequence[str] = ()
    """in_stock, out_of_stock, preorder or backorder."""
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values by the names of the product's attributes, such as `{"color": ["red", "blue"]}`."""
    product_ids: Sequence[str] = ()
    item_group_ids: Sequence[str] = ()
    excluded_product_ids: Sequence[str] = ()
    """Left out, whatever else they match; so are the products of `excluded_item_group_ids`."""
    excluded_item_group_ids: Sequence[str] = ()
