"""The filter that a caller gives -> one that protobuf can carry.

Rule: every value is checked, and its error names its field as the contract does. What a filter may ask for is the
server's to decide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sightline_client import values
from sightline_client.filters import Filter, PriceRange

LISTS = (
    *("brands", "categories", "availabilities", "product_ids", "item_group_ids"),
    *("excluded_product_ids", "excluded_item_group_ids"),
)


class FieldError(ValueError):
    """The value of `field` cannot be sent; the text reads after its name: "must be a str, not 5"."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


def checked_filter(value: object) -> Filter | None:
    """The filter, or None for none. Raises `FieldError`."""
    if value is None:
        return None
    if not isinstance(value, Filter):
        raise FieldError("filter", f"must be a Filter or None, not {values.quoted(value)}")
    lists: dict[str, Any] = {name: _texts(f"filter.{name}", getattr(value, name)) for name in LISTS}
    return replace(value, **lists, prices=_prices(value.prices), attributes=_attributes(value.attributes))


def _texts(field: str, value: object) -> tuple[str, ...]:
    return tuple(
        _named(f"{field}[{place}]", values.text, each) for place, each in enumerate(_sequence(field, value, "str"))
    )


def _prices(value: object) -> tuple[PriceRange, ...]:
    return tuple(
        _price(f"filter.prices[{place}]", each)
        for place, each in enumerate(_sequence("filter.prices", value, "PriceRange"))
    )


def _price(field: str, value: object) -> PriceRange:
    if not isinstance(value, PriceRange):
        raise FieldError(field, f"must be a PriceRange, not {values.quoted(value)}")
    bounds = {
        name: None if getattr(value, name) is None else _named(f"{field}.{name}", values.real, getattr(value, name))
        for name in ("minimum", "maximum")
    }
    return PriceRange(_named(f"{field}.currency", values.text, value.currency), **bounds)


def _attributes(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        problem = f"must be a mapping of names to sequences of str, not {values.quoted(value)}"
        raise FieldError("filter.attributes", problem)
    return {
        _named("filter.attributes", values.text, name): _texts(f"filter.attributes[{values.quoted(name)}]", each)
        for name, each in value.items()
    }


def _sequence(field: str, value: object, of: str) -> Sequence[object]:
    # A text is a sequence of texts as well, of its letters.
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise FieldError(field, f"must be a sequence of {of}, not {values.quoted(value)}")
    return value


def _named(field: str, check: Callable[[object], Any], value: object) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise FieldError(field, str(error)) from None
