"""The products that match a filter, compared with a plain reading of them one by one."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.domain.filters import AttributeCondition, Filter, PriceRange
from sightline_server.domain.items import Product
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.matching import matching
from sightline_server.index.filters.texts import details
from sightline_server.index.opened_catalog import display_table
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS, CatalogRow, Price, to_table


def columns_of(products: list[Product]) -> FilterColumns:
    """The columns of a catalog of `products`, whose prices are read from their text."""
    rows = [CatalogRow(each, price_of(each), ("a.jpg",), np.ones((1, 1), np.float32)) for each in products]
    table = to_table(rows, 1)
    display = display_table(table.select(list(DISPLAY_COLUMNS)).to_batches())
    return FilterColumns.of(display, table.select(list(PRICE_COLUMNS)))


def price_of(product: Product) -> Price | None:
    if not product.price:
        return None
    amount, currency = product.price.split()
    return Price(Decimal(amount), currency)


SHOP = [
    Product("a", brand="Norrvik", category="Furniture > Chairs", price="49.99 USD", availability="in_stock"),
    Product("b", brand="NORRVIK ", category="Furniture > Chairs > Stools", price="50 USD", availability="preorder"),
    Product("c", brand="Nordhem", category="Furniture > Chairs & Tables", price="50.0001 USD", availability="in_stock"),
    Product("d", brand="", category="Furniture", price="40 EUR", availability="out_of_stock", item_group_id="g1"),
    Product("e", category="", item_group_id="g1", attributes={"color": "Red/Blue", "size": "M"}),
    Product(
        "f", category="furniture>chairs", attributes={"color": "blue", "material": "Oak", "description": "x" * 400}
    ),
    Product("A", brand="Straße", attributes={"color": "red", "custom_label_0": "50 % off", "Fit Type": "slim"}),
]
EVERY = {each.id for each in SHOP}
COLUMNS = columns_of(SHOP)


def ids(wanted: Filter, columns: FilterColumns = COLUMNS) -> set[str]:
    return {each.id for each, fits in zip(SHOP, matching(wanted, columns), strict=True) if fits}


def prices(currency: str, minimum: str | None = None, maximum: str | None = None) -> PriceRange:
    low, high = (None if bound is None else Decimal(bound) for bound in (minimum, maximum))
    return PriceRange(currency, low, high)


def attribute(name: str, *values: str) -> AttributeCondition:
    return AttributeCondition(name, values)


CASES: dict[str, tuple[Filter, set[str]]] = {
    "no condition": (Filter(), EVERY),
    "a brand in another case": (Filter(brands=("norrvik",)), {"a", "b"}),
    "one of two brands": (Filter(brands=("Nordhem", "STRASSE")), {"c", "A"}),
    "an unknown brand": (Filter(brands=("Nowhere",)), set()),
    "an empty brand": (Filter(brands=("",)), set()),
    "a category by whole levels": (Filter(categories=("Furniture > Chairs",)), {"a", "b", "f"}),
    "a category of all levels": (Filter(categories=("Furniture > Chairs > Stools",)), {"b"}),
    "the first level": (Filter(categories=("FURNITURE",)), {"a", "b", "c", "d", "f"}),
    "a part of a level": (Filter(categories=("Furniture > Chair",)), set()),
    "a later level": (Filter(categories=("Chairs",)), set()),
    "no level": (Filter(categories=(">",)), set()),
    "at most": (Filter(prices=(prices("USD", None, "50"),)), {"a", "b"}),
    "at least": (Filter(prices=(prices("USD", "50"),)), {"b", "c"}),
    "between": (Filter(prices=(prices("USD", "49.995", "50.00005"),)), {"b"}),
    "one price": (Filter(prices=(prices("USD", "50", "50"),)), {"b"}),
    "any price in a currency": (Filter(prices=(prices("EUR"),)), {"d"}),
    "either currency": (Filter(prices=(prices("USD", None, "49.99"), prices("EUR", None, "45"))), {"a", "d"}),
    "an unknown currency": (Filter(prices=(prices("XXX", None, "1000000"),)), set()),
    "a bound beyond every price": (Filter(prices=(prices("USD", None, "1e308"),)), {"a", "b", "c"}),
    "a bound above every price": (Filter(prices=(prices("USD", "1e308"),)), set()),
    "a tiny bound": (Filter(prices=(prices("USD", "1e-300"),)), {"a", "b", "c"}),
    "in stock": (Filter(availabilities=("in_stock",)), {"a", "c"}),
    "in stock as people write it": (Filter(availabilities=("In stock",)), {"a", "c"}),
    "one of two availabilities": (Filter(availabilities=("preorder", "out_of_stock")), {"b", "d"}),
    "an unknown availability": (Filter(availabilities=("soon",)), set()),
    "an attribute": (Filter(attributes=(attribute("color", "RED"),)), {"e", "A"}),
    "a whole list of colors": (Filter(attributes=(attribute("color", "red/blue"),)), {"e"}),
    "one of two values": (Filter(attributes=(attribute("color", "red", "blue"),)), {"e", "f", "A"}),
    "both of two values": (Filter(attributes=(attribute("color", "red"), attribute("color", "blue"))), {"e"}),
    "two attributes": (Filter(attributes=(attribute("color", "blue"), attribute("size", "M"))), {"e"}),
    "a name as people write it": (Filter(attributes=(attribute("fit-type", "Slim"),)), {"A"}),
    "a custom label": (Filter(attributes=(attribute("custom_label_0", "50 % OFF"),)), {"A"}),
    "an unknown attribute": (Filter(attributes=(attribute("colour", "red"),)), set()),
    "an unknown value": (Filter(attributes=(attribute("color", "green"),)), set()),
    "a value of another attribute": (Filter(attributes=(attribute("size", "red"),)), set()),
    "a text that is too long": (Filter(attributes=(attribute("description", "x" * 400),)), set()),
    "name and value run together": (Filter(attributes=(attribute("color\x1fred", "red"),)), set()),
    "an id": (Filter(product_ids=("a", "zz")), {"a"}),
    "a group": (Filter(item_group_ids=("g1",)), {"d", "e"}),
    "no group": (Filter(item_group_ids=("",)), set()),
    "all but an id": (Filter(excluded_product_ids=("a", "zz")), EVERY - {"a"}),
    "all but a group": (Filter(excluded_item_group_ids=("g1",)), EVERY - {"d", "e"}),
    "excluded although asked for": (Filter(product_ids=("a", "d"), excluded_item_group_ids=("g1",)), {"a"}),
    "all conditions": (
        Filter(brands=("norrvik",), categories=("furniture",), prices=(prices("USD"),), availabilities=("in_stock",)),
        {"a"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_conditions_match_what_they_say_and_nothing_else(case: str) -> None:
    wanted, expected = CASES[case]
    assert ids(wanted) == expected


@pytest.mark.parametrize("case", CASES)
def test_columns_that_workers_map_match_the_same(case: str) -> None:
    wanted, expected = CASES[case]
    sink = pa.BufferOutputStream()
    table = COLUMNS.to_table()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    read = FilterColumns.from_table(pa.ipc.open_file(sink.getvalue()).read_all())
    assert ids(wanted, read) == expected


def test_a_catalog_without_the_fields_matches_no_condition_on_them() -> None:
    columns = columns_of([Product("x"), Product("y")])
    for wanted, _ in CASES.values():
        excludes_only = not replace(wanted, excluded_product_ids=(), excluded_item_group_ids=())
        assert matching(wanted, columns).all() == excludes_only
        assert matching(wanted, columns).any() == excludes_only


@pytest.mark.parametrize(
    ("stated", "values"),
    [
        ("General:Weight:2 kg", ["General:Weight:2 kg", "Weight:2 kg"]),
        (
            "General:Type:Player, Display:Size:4, 5 in",
            ["General:Type:Player", "Type:Player", " Display:Size:4, 5 in", "Size:4, 5 in"],
        ),
        ('{"attributeName": "Weight", "attributeValue": "2 kg"}, {"attribute_name": "Fit"}', ["Weight:2 kg"]),
        ("{broken", []),
    ],
)
def test_product_details_are_values_one_by_one(stated: str, values: list[str]) -> None:
    assert list(details(stated)) == values


WORDS = st.sampled_from(["red", "Red", "RED ", "blue", "a", "A > b", "a>B > c", "ab", "", "Straße", "STRASSE"])
AMOUNTS = st.decimals("0", "20", places=2)
CURRENCIES = st.sampled_from(["USD", "EUR", "CHF"])
PRODUCTS = st.builds(
    Product,
    id=st.just(""),
    brand=WORDS,
    category=WORDS,
    price=st.one_of(st.just(""), st.builds("{} {}".format, AMOUNTS, CURRENCIES)),
    availability=st.sampled_from(["", "in_stock", "preorder"]),
    item_group_id=st.sampled_from(["", "g1", "g2"]),
    attributes=st.dictionaries(st.sampled_from(["color", "size"]), WORDS, max_size=2),
)
LISTS = st.lists(WORDS, max_size=2).map(tuple)
FILTERS = st.builds(
    Filter,
    brands=LISTS,
    categories=LISTS,
    prices=st.lists(st.builds(PriceRange, CURRENCIES, st.none() | AMOUNTS, st.none() | AMOUNTS), max_size=2).map(tuple),
    availabilities=st.lists(st.sampled_from(["in_stock", "soon"]), max_size=2).map(tuple),
    attributes=st.lists(
        st.builds(
            AttributeCondition,
            st.sampled_from(["color", "size", "fit"]),
            st.lists(WORDS, min_size=1, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    product_ids=st.lists(st.sampled_from(["p0", "p1", "p9"]), max_size=2).map(tuple),
    excluded_product_ids=st.lists(st.sampled_from(["p0", "p2"]), max_size=2).map(tuple),
    excluded_item_group_ids=st.lists(st.sampled_from(["g1", "g9"]), max_size=1).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PRODUCTS, min_size=1, max_size=8), FILTERS)
def test_any_filter_matches_what_a_plain_reading_matches(shop: list[Product], wanted: Filter) -> None:
    named = [
        Product(**{name: getattr(each, name) for name in each.__slots__} | {"id": f"p{number}"})
        for number, each in enumerate(shop)
    ]
    expected = [plainly(wanted, each) for each in named]
    assert matching(wanted, columns_of(named)).tolist() == expected


def plainly(wanted: Filter, product: Product) -> bool:
    """Returns whether `product` matches, condition by condition."""
    checks: list[tuple[object, Callable[[], bool]]] = [
        (wanted.brands, lambda: folded(product.brand) in {folded(each) for each in wanted.brands} - {""}),
        (wanted.categories, lambda: any(under(product.category, each) for each in wanted.categories)),
        (wanted.prices, lambda: any(costs(product, each) for each in wanted.prices)),
        (wanted.availabilities, lambda: product.availability in wanted.availabilities),
        (wanted.product_ids, lambda: product.id in wanted.product_ids),
        *((each, lambda each=each: has(product, each)) for each in wanted.attributes),
    ]
    excluded = product.id in wanted.excluded_product_ids or product.item_group_id in wanted.excluded_item_group_ids
    return all(check() for stated, check in checks if stated) and not excluded


def folded(text: str) -> str:
    return text.strip().casefold()


def under(category: str, prefix: str) -> bool:
    levels, wanted = ([folded(part) for part in text.split(">") if part.strip()] for text in (category, prefix))
    return bool(wanted) and levels[: len(wanted)] == wanted


def costs(product: Product, wanted: PriceRange) -> bool:
    price = price_of(product)
    return (
        price is not None
        and price.currency == wanted.currency
        and (wanted.minimum is None or price.amount >= wanted.minimum)
        and (wanted.maximum is None or price.amount <= wanted.maximum)
    )


def has(product: Product, wanted: AttributeCondition) -> bool:
    stated = folded(product.attributes.get(wanted.name, ""))
    return bool(stated) and stated in {folded(value) for value in wanted.values}
