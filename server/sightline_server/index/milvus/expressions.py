"""A filter -> an expression of Milvus. Pure.

Rule: no text of a request is ever a part of the grammar: each is a quoted literal. A condition that no row can meet
makes no expression, because Milvus has no word for false.
"""

from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR

from sightline_server.domain.filters import Filter, PriceRange
from sightline_server.index.filters.matching import scaled
from sightline_server.index.filters.texts import attribute_text, category_path, compared, compared_name

ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
NOTHING = "image < 0"
"""Rows have no negative numbers."""


def expression(wanted: Filter) -> str:
    """The expression that the rows of matching products meet; `NOTHING` where no row can meet a condition."""
    parts = list(conditions(wanted))
    return NOTHING if NOTHING in parts else " and ".join(parts)


def both(first: str, second: str) -> str:
    """Rows that meet both; an empty expression is met by every row."""
    return f"({first}) and ({second})" if first and second else first or second


def conditions(wanted: Filter) -> Iterator[str]:
    """An expression for each condition that is set."""
    if wanted.brands:
        yield one_of("brand_form", map(compared, wanted.brands))
    if wanted.categories:
        yield any_in("category_forms", map(category_path, wanted.categories))
    if wanted.prices:
        yield "(" + " or ".join(map(priced, wanted.prices)) + ")"
    if wanted.availabilities:
        yield one_of("availability_form", map(compared_name, wanted.availabilities))
    for attribute in wanted.attributes:
        yield any_in("attribute_forms", (attribute_text(attribute.name, value) for value in attribute.values))
    if wanted.product_ids:
        yield one_of("id", wanted.product_ids)
    if wanted.item_group_ids:
        yield one_of("item_group_id", wanted.item_group_ids)
    if wanted.excluded_product_ids:
        yield f"not ({one_of('id', wanted.excluded_product_ids)})"
    if any(wanted.excluded_item_group_ids):
        yield f"not ({one_of('item_group_id', wanted.excluded_item_group_ids)})"


def one_of(field: str, texts: Iterable[str]) -> str:
    """Rows whose `field` is one of `texts`; an empty one equals nothing."""
    literals = [quoted(text) for text in texts if text]
    return f"{field} in [{', '.join(literals)}]" if literals else NOTHING


def any_in(field: str, texts: Iterable[str]) -> str:
    """Rows whose list `field` has one of `texts`."""
    literals = [quoted(text) for text in texts if text]
    return f"array_contains_any({field}, [{', '.join(literals)}])" if literals else NOTHING


def priced(prices: PriceRange) -> str:
    """Rows whose price is in the range."""
    parts = [f"currency == {quoted(prices.currency)}"]
    if prices.minimum is not None:
        parts.append(f"amount >= {scaled(prices.minimum, ROUND_CEILING)}")
    if prices.maximum is not None:
        parts.append(f"amount <= {scaled(prices.maximum, ROUND_FLOOR)}")
    return "(" + " and ".join(parts) + ")"


def quoted(text: str) -> str:
    """The text as a literal."""
    return '"' + "".join(ESCAPED.get(character, character) for character in text) + '"'
