"""A filter as text, in the form that `sightline search --filter` reads.

Rule: the text of a filter, read again, is the same filter, unless it has two conditions on one attribute.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from sightline_server.domain.filters import Filter, PriceRange

PLAIN = re.compile(r"[^\s,\"'=<>!\\]+")
NAMES = frozenset({"brand", "category", "price", "availability", "available", "id", "group"})
"""Words of the grammar: an attribute of such a name is written with `attribute.` in front."""
PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")


def filter_text(wanted: Filter) -> str:
    """All conditions of `wanted`, such as `brand=Norrvik price<=50 USD`; empty without any."""
    return " ".join(conditions(wanted))


def conditions(wanted: Filter) -> Iterator[str]:
    """Each condition as text."""
    lists = (
        ("brand=", wanted.brands),
        ("category=", wanted.categories),
        ("availability=", wanted.availabilities),
        ("id=", wanted.product_ids),
        ("group=", wanted.item_group_ids),
        ("id!=", wanted.excluded_product_ids),
        ("group!=", wanted.excluded_item_group_ids),
    )
    yield from (start + any_of(values) for start, values in lists if values)
    if wanted.prices:
        yield "price=" + ",".join(map(price_text, wanted.prices))
    yield from (attribute_name(each.name) + "=" + any_of(each.values) for each in wanted.attributes)


def any_of(values: Iterable[str]) -> str:
    """Values with commas between them."""
    return ",".join(map(quoted, values))


def quoted(value: str) -> str:
    """The value, in quotes where it is not one plain word."""
    return value if PLAIN.fullmatch(value) else in_quotes(value)


def in_quotes(value: str) -> str:
    """The value in quotes."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def price_text(prices: PriceRange) -> str:
    """Both bounds and the currency: `10..50 USD`, `..50 USD` or `10.. USD`; without a bound `.. USD`."""
    return f"{amount(prices.minimum)}..{amount(prices.maximum)} {prices.currency}"


def amount(bound: Decimal | None) -> str:
    """A bound without an exponent; empty for none."""
    if bound is None:
        return ""
    text = f"{bound:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def attribute_name(name: str) -> str:
    """The attribute as the grammar names it."""
    if PLAIN_NAME.fullmatch(name) is None:
        return "attribute." + in_quotes(name)
    return f"attribute.{name}" if name in NAMES else name
