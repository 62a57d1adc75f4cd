"""The contract's filter -> the domain's: every limit names its field, and nothing unknown is left out."""

import math
from decimal import Decimal
from typing import Any

import pytest

from sightline.v1 import lens_service_pb2
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AttributeCondition, Filter, PlanKind, PriceRange
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.lens.filters import PLANS, to_filter

FUTURE = b"\x9a\x06\x04sale"
"""A field of a newer contract: number 99, a text."""


def message(**fields: Any) -> lens_service_pb2.Filter:
    return lens_service_pb2.Filter(**fields)


def prices(**fields: Any) -> lens_service_pb2.PriceRange:
    return lens_service_pb2.PriceRange(**fields)


def attribute(name: str, *values: str) -> lens_service_pb2.AttributeCondition:
    return lens_service_pb2.AttributeCondition(name=name, values=values)


def test_every_field_of_the_contract_becomes_a_condition() -> None:
    full = message(
        brands=["Norrvik", "Nordhem", "Norrvik"],
        categories=["Furniture > Chairs"],
        price=prices(currency="usd", minimum=0.1, maximum=49.99),
        prices=[prices(currency="EUR")],
        availabilities=["in_stock"],
        attributes=[attribute("color", "red", "blue")],
        product_ids=["p1"],
        item_group_ids=["g1"],
        excluded_product_ids=["p2"],
        excluded_item_group_ids=["g2"],
    )
    assert {field.name for field, _ in full.ListFields()} == {field.name for field in full.DESCRIPTOR.fields}
    assert to_filter(full) == Filter(
        brands=("Norrvik", "Nordhem"),
        categories=("Furniture > Chairs",),
        prices=(PriceRange("USD", Decimal("0.1"), Decimal("49.99")), PriceRange("EUR")),
        availabilities=("in_stock",),
        attributes=(AttributeCondition("color", ("red", "blue")),),
        product_ids=("p1",),
        item_group_ids=("g1",),
        excluded_product_ids=("p2",),
        excluded_item_group_ids=("g2",),
    )


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 0.07, 1e-300, 1e300, 99999999999999.99])
def test_a_bound_is_the_number_that_was_written(value: float) -> None:
    [found] = to_filter(message(price=prices(currency="USD", minimum=value))).prices
    assert found.minimum is not None
    assert float(found.minimum) == value
    assert not found.minimum.is_signed()


BAD: dict[str, tuple[lens_service_pb2.Filter, str]] = {
    "an empty brand": (message(brands=["a", ""]), "filter.brands[1]"),
    "a blank brand": (message(brands=["\u00a0 \t"]), "filter.brands[0]"),
    "a long brand": (message(brands=["b" * 257]), "filter.brands[0]"),
    "too many brands": (message(brands=map(str, range(101))), "filter.brands"),
    "an empty category": (message(categories=[""]), "filter.categories[0]"),
    "a category without levels": (message(categories=["Chairs", " > "]), "filter.categories[1]"),
    "too many categories": (message(categories=map(str, range(101))), "filter.categories"),
    "an empty availability": (message(availabilities=[""]), "filter.availabilities[0]"),
    "no currency": (message(price=prices(maximum=9.0)), "filter.price.currency"),
    "an empty price": (message(price=prices()), "filter.price.currency"),
    "a sign for a currency": (message(prices=[prices(currency="$")]), "filter.prices[0].currency"),
    "a long currency": (message(prices=[prices(currency="USDX")]), "filter.prices[0].currency"),
    "letters that are not ASCII": (message(prices=[prices(currency="ÜSD")]), "filter.prices[0].currency"),
    "letters that become ASCII": (message(prices=[prices(currency="u\u017fd")]), "filter.prices[0].currency"),
    "a ligature that becomes ASCII": (message(price=prices(currency="\ufb01s")), "filter.price.currency"),
    "a negative price": (message(price=prices(currency="USD", minimum=-0.01)), "filter.price.minimum"),
    "a price of nan": (message(price=prices(currency="USD", maximum=math.nan)), "filter.price.maximum"),
    "an endless price": (message(prices=[prices(currency="USD", maximum=math.inf)]), "filter.prices[0].maximum"),
    "bounds the wrong way round": (message(price=prices(currency="USD", minimum=2, maximum=1)), "filter.price"),
    "too many prices": (message(prices=[prices(currency="USD")] * 21), "filter.prices"),
    "an attribute without a name": (message(attributes=[attribute("", "red")]), "filter.attributes[0].name"),
    "an attribute without values": (message(attributes=[attribute("color")]), "filter.attributes[0].values"),
    "an empty value": (message(attributes=[attribute("color", "red", "")]), "filter.attributes[0].values[1]"),
    "too many values": (message(attributes=[attribute("a", *map(str, range(101)))]), "filter.attributes[0].values"),
    "too many attributes": (message(attributes=[attribute("color", "red")] * 21), "filter.attributes"),
    "an empty id": (message(product_ids=[""]), "filter.product_ids[0]"),
    "too many ids": (message(product_ids=map(str, range(1001))), "filter.product_ids"),
    "an empty group": (message(item_group_ids=[""]), "filter.item_group_ids[0]"),
    "too many groups": (message(item_group_ids=map(str, range(1001))), "filter.item_group_ids"),
    "an empty excluded id": (message(excluded_product_ids=[""]), "filter.excluded_product_ids[0]"),
    "too many excluded ids": (message(excluded_product_ids=map(str, range(1001))), "filter.excluded_product_ids"),
    "an empty excluded group": (message(excluded_item_group_ids=[""]), "filter.excluded_item_group_ids[0]"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_condition_that_cannot_be_used_is_an_error_of_its_field(case: str) -> None:
    bad, field = BAD[case]
    with pytest.raises(SightlineError) as caught:
        to_filter(bad)
    assert (caught.value.kind, caught.value.field) == (ErrorKind.INVALID_REQUEST, field)
    assert caught.value.message.startswith(f"{field}: ")


def test_an_error_repeats_no_text_of_the_request() -> None:
    for bad in (message(brands=["secret" * 99]), message(price=prices(currency="secret"))):
        with pytest.raises(SightlineError) as caught:
            to_filter(bad)
        assert "secret" not in caught.value.message + str(caught.value.metadata)


@pytest.mark.parametrize(
    ("unknown", "field"),
    [
        (lens_service_pb2.Filter.FromString(FUTURE), "filter"),
        (message(brands=["a"], price=lens_service_pb2.PriceRange.FromString(b"\x0a\x03USD" + FUTURE)), "filter.price"),
        (
            message(attributes=[lens_service_pb2.AttributeCondition.FromString(b"\x0a\x01a\x12\x01b" + FUTURE)]),
            "filter.attributes[0]",
        ),
    ],
)
def test_a_condition_of_a_newer_contract_is_refused_and_never_ignored(
    unknown: lens_service_pb2.Filter, field: str
) -> None:
    with pytest.raises(SightlineError) as caught:
        to_filter(unknown)
    assert (caught.value.kind, caught.value.field) == (ErrorKind.NOT_BUILT, field)


def test_every_plan_has_its_number_in_the_contract() -> None:
    assert set(PLANS) == set(PlanKind)
    assert set(PLANS.values()) == set(lens_service_pb2.FilterPlanKind.values()) - {0}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Filter(), ""),
        (Filter(brands=("Norrvik", "Nord hem")), 'brand=Norrvik,"Nord hem"'),
        (Filter(categories=("Furniture > Chairs",)), 'category="Furniture > Chairs"'),
        (Filter(prices=(PriceRange("USD", None, Decimal(50)),)), "price=..50 USD"),
        (Filter(prices=(PriceRange("USD", Decimal("9.90"), None), PriceRange("EUR"))), "price=9.9.. USD,.. EUR"),
        (Filter(prices=(PriceRange("USD", Decimal("1E+3"), Decimal("1.5E+3")),)), "price=1000..1500 USD"),
        (Filter(availabilities=("in_stock",), product_ids=("a=b",)), 'availability=in_stock id="a=b"'),
        (Filter(excluded_product_ids=('a"b\\',), excluded_item_group_ids=("g",)), 'id!="a\\"b\\\\" group!=g'),
        (Filter(attributes=(AttributeCondition("color", ("red",)),)), "color=red"),
        (Filter(attributes=(AttributeCondition("brand", ("x",)),)), "attribute.brand=x"),
        (Filter(attributes=(AttributeCondition("Fit Type", ("x", "y")),)), 'attribute."Fit Type"=x,y'),
    ],
)
def test_the_text_of_a_filter(wanted: Filter, text: str) -> None:
    assert filter_text(wanted) == text
