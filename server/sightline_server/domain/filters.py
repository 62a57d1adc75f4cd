"""The conditions that products must meet to be returned, and the way in which an index applied them.

Rule: values only. A list is met by any one of its values, and every condition that is set must be met.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Prices in `currency` (ISO 4217) within the bounds, both included; None sets no bound."""

    currency: str
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AttributeCondition:
    """One of `values` in the attribute `name`."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """The conditions of `sightline.v1.Filter`. False where none is set."""

    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    prices: tuple[PriceRange, ...] = ()
    availabilities: tuple[str, ...] = ()
    attributes: tuple[AttributeCondition, ...] = ()
    product_ids: tuple[str, ...] = ()
    item_group_ids: tuple[str, ...] = ()
    excluded_product_ids: tuple[str, ...] = ()
    excluded_item_group_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class PlanKind(Enum):
    """A way of searching an index under a filter."""

    NO_MATCH = "no_match"
    """No product matches: nothing is searched."""
    ALL = "all"
    """Every product matches: the search is the one without a filter."""
    GATHER = "gather"
    """The vectors that match are few: they are put together, and each query is compared with them."""
    SELECTOR = "selector"
    """The index skips what does not match."""
    EXACT = "exact"
    """Every vector that matches is compared, part by part."""


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """The way in which a filter was applied to one revision, and how many products and images match it."""

    kind: PlanKind
    products: int
    images: int


@dataclass(frozen=True, slots=True)
class AppliedFilter:
    """A filter as it was applied to one revision: `text` is its text form."""

    text: str
    plan: FilterPlan
