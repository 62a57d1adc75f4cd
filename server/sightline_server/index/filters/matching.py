"""A filter and the columns of a revision -> which products match.

Rule: a mask begins with every product and is only ever narrowed. A condition that is set narrows it to the rows that
are known to meet it, so that an unknown currency, brand or attribute leaves nothing.
"""

from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter, PriceRange
from sightline_server.index.filters.columns import PRICE_DECIMALS, FilterColumns
from sightline_server.index.filters.postings import Rows
from sightline_server.index.filters.texts import LEVELS, attribute_text, category_path, compared, compared_name

LARGEST = 2**63 - 1


def matching(wanted: Filter, columns: FilterColumns) -> NDArray[np.bool_]:
    """A mask of the products that match, bool [P]."""
    mask = np.ones(columns.products, bool)
    for alternatives in conditions(wanted, columns):
        meets = np.zeros(columns.products, bool)
        for rows in alternatives:
            meets[rows] = True
        mask &= meets
    for rows in exclusions(wanted, columns):
        mask[rows] = False
    return mask


def conditions(wanted: Filter, columns: FilterColumns) -> Iterator[Iterable[Rows]]:
    """For each condition that is set, the rows that meet each of its alternatives."""
    if wanted.brands:
        yield (columns.brands.having(compared(text)) for text in wanted.brands)
    if wanted.categories:
        yield (columns.categories.below(category_path(text), LEVELS) for text in wanted.categories)
    if wanted.prices:
        yield (priced(prices, columns) for prices in wanted.prices)
    if wanted.availabilities:
        yield (columns.availabilities.having(compared_name(text)) for text in wanted.availabilities)
    for attribute in wanted.attributes:
        texts = [attribute_text(attribute.name, value) for value in attribute.values]
        yield map(columns.attributes.having, texts)
    if wanted.product_ids:
        yield map(columns.ids.having, wanted.product_ids)
    if wanted.item_group_ids:
        yield map(columns.groups.having, wanted.item_group_ids)


def exclusions(wanted: Filter, columns: FilterColumns) -> Iterator[Rows]:
    """The rows of everything that is excluded."""
    yield from map(columns.ids.having, wanted.excluded_product_ids)
    yield from map(columns.groups.having, wanted.excluded_item_group_ids)


def priced(prices: PriceRange, columns: FilterColumns) -> Rows:
    """The rows whose price is in the range."""
    rows = columns.currencies.having(prices.currency)
    amounts = columns.amounts[rows]
    inside = np.ones(len(rows), bool)
    if prices.minimum is not None:
        inside &= amounts >= scaled(prices.minimum, ROUND_CEILING)
    if prices.maximum is not None:
        inside &= amounts <= scaled(prices.maximum, ROUND_FLOOR)
    return rows[inside]


def scaled(bound: Decimal, rounding: str) -> int:
    """The bound in the unit of the amounts, within int64."""
    exact = bound.scaleb(PRICE_DECIMALS).to_integral_value(rounding)
    return int(min(max(exact, Decimal(-LARGEST)), Decimal(LARGEST)))
