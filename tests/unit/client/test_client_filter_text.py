"""A filter as people write it: each form, and for each fault a position."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_client import Filter, FilterTextError, InvalidRequestError, PriceRange, parse_filter
from sightline_client.convert import request_to_pb
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AttributeCondition
from sightline_server.domain.filters import Filter as ServerFilter
from sightline_server.domain.filters import PriceRange as ServerPrices
from sightline_server.rpc.lens.filters import to_filter


def usd(minimum: str | None = None, maximum: str | None = None, currency: str = "USD") -> PriceRange:
    return PriceRange(currency, *(None if each is None else Decimal(each) for each in (minimum, maximum)))


READ: dict[str, Filter] = {
    "": Filter(),
    "  ": Filter(),
    "brand=Norrvik price<=50 USD available": Filter(
        brands=("Norrvik",), prices=(usd(None, "50"),), availabilities=("in_stock",)
    ),
    "brand = Norrvik , 'Nord hem'": Filter(brands=("Norrvik", "Nord hem")),
    'category="Furniture > Chairs"': Filter(categories=("Furniture > Chairs",)),
    "price >= 10 usd price<=50USD": Filter(prices=(usd("10", "50"),)),
    "price=10..50 USD": Filter(prices=(usd("10", "50"),)),
    "price=..50.25 USD,10.. EUR , .. CHF": Filter(
        prices=(usd(None, "50.25"), usd("10", None, "EUR"), usd(None, None, "CHF"))
    ),
    "price=50 USD": Filter(prices=(usd("50", "50"),)),
    "price<=50 USD price<=45 EUR": Filter(prices=(usd(None, "50"), usd(None, "45", "EUR"))),
    "availability=preorder,'In stock'": Filter(availabilities=("preorder", "in_stock")),
    "id=p1,p2 group=g1 id!=p3 group!=g2,g3": Filter(
        product_ids=("p1", "p2"),
        item_group_ids=("g1",),
        excluded_product_ids=("p3",),
        excluded_item_group_ids=("g2", "g3"),
    ),
    "color=red,blue size=M": Filter(attributes={"color": ("red", "blue"), "size": ("M",)}),
    'custom_label_0="50 % off" größe=40': Filter(attributes={"custom_label_0": ("50 % off",), "größe": ("40",)}),
    'attribute.brand=a attribute."Fit Type"=slim attribute.available=yes': Filter(
        attributes={"brand": ("a",), "Fit Type": ("slim",), "available": ("yes",)}
    ),
    r'color="a\"b\\c"': Filter(attributes={"color": ('a"b\\c',)}),
    "color=https://shop.example/a;b": Filter(attributes={"color": ("https://shop.example/a;b",)}),
}


@pytest.mark.parametrize("text", READ)
def test_each_form_is_read(text: str) -> None:
    assert parse_filter(text) == READ[text]


FAULTS: dict[str, tuple[int, str]] = {
    "brand": (5, "expected ="),
    "brand=": (6, "expected a value"),
    "brand= price<=50 USD": (12, "expected a blank"),
    'material=""': (11, "expected a value"),
    "brand=a,": (8, "expected a value"),
    "brand=a brand=b": (8, "given twice"),
    "brand!=a": (0, "cannot be excluded"),
    "brand<=a": (5, "takes = and values"),
    "brand=Tom&Jerry>x": (15, "expected a blank"),
    "=a": (0, "expected a name"),
    "brand=a  50": (9, "expected a name"),
    'brand="a': (6, "not closed"),
    "brand='": (6, "not closed"),
    "category=Furniture>Chairs": (18, "expected a blank"),
    "price<=50": (9, "currency"),
    "price<=USD": (7, "amount"),
    "price<=-5 USD": (7, "amount"),
    "price<50 USD": (5, "takes <=, >= or ="),
    "price!=50 USD": (5, "takes <=, >= or ="),
    "price<=50 dollars": (10, "currency"),
    "price<=49,99 USD": (9, "currency"),
    "price=cheap": (6, "amount such as 50"),
    "price=50..10 USD": (0, "above the highest"),
    "price>=50 USD price<=10 USD": (14, "above the highest"),
    "price<=50 USD price<=60 USD": (14, "given twice for USD"),
    "price=1..2 USD price=3..4 USD": (15, "given twice"),
    "price=1..2 USD price<=9 USD": (15, "range and as a bound"),
    "available=yes": (9, "takes no value"),
    "available availability=preorder": (10, "given twice"),
    "availability=soon": (13, "not one of in_stock"),
    "color=red color=blue": (10, "given twice"),
    "color!=red": (0, "cannot be excluded"),
    "section.color=red": (7, "attribute."),
    "attribute.=red": (9, "expected ="),
    'brand="a"b': (9, "expected a blank"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_an_error_at_its_position(text: str) -> None:
    position, problem = FAULTS[text]
    with pytest.raises(FilterTextError, match=problem) as caught:
        parse_filter(text)
    assert caught.value.position == position
    assert f"character {position + 1}:" in caught.value.message
    assert isinstance(caught.value, InvalidRequestError)
    assert caught.value.violations[0].field == "filter"


def test_the_caret_is_below_the_fault_in_a_long_text() -> None:
    with pytest.raises(FilterTextError) as caught:
        parse_filter("brand=" + "a" * 500 + "\tprice<50 USD color=" + "b" * 500)
    line, caret = caught.value.shown.split("\n")
    assert line[len(caret) - 1 :].startswith("<50 USD")
    assert len(line) < 70


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("abz=!<>,.\"'\\ 5USD\tprice"), max_size=30))
def test_any_text_is_a_filter_or_an_error_within_the_text(text: str) -> None:
    assert position_of_fault(text) in range(-1, len(text) + 1)


def position_of_fault(text: str) -> int:
    """The position at which `text` cannot be read; -1 for a filter."""
    try:
        parse_filter(text)
    except FilterTextError as error:
        return error.position
    return -1


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda text: bool(text.strip())
)
LISTS = st.lists(TEXTS, max_size=3, unique=True).map(tuple)
AMOUNTS = st.decimals("0", "100000", places=4)


def ordered(currency: str, low: Decimal | None, high: Decimal | None) -> ServerPrices:
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    return ServerPrices(currency, low, high)


FILTERS = st.builds(
    ServerFilter,
    brands=LISTS,
    categories=LISTS.filter(lambda texts: all(text.replace(">", "").strip() for text in texts)),
    prices=st.lists(
        st.builds(ordered, st.sampled_from(["USD", "EUR"]), st.none() | AMOUNTS, st.none() | AMOUNTS), max_size=3
    ).map(tuple),
    availabilities=st.lists(st.sampled_from(["in_stock", "preorder"]), max_size=2, unique=True).map(tuple),
    attributes=st.dictionaries(
        TEXTS | st.sampled_from(["brand", "color", "price"]), LISTS.filter(bool), max_size=3
    ).map(lambda named: tuple(AttributeCondition(*each) for each in named.items())),
    product_ids=LISTS,
    item_group_ids=LISTS,
    excluded_product_ids=LISTS,
    excluded_item_group_ids=LISTS,
)


@settings(max_examples=200, deadline=None)
@given(FILTERS)
def test_the_applied_filter_of_the_server_reads_as_the_same_filter(wanted: ServerFilter) -> None:
    read = parse_filter(filter_text(wanted))
    sent = request_to_pb(b"", filter=read).filter
    assert normal(to_filter(sent)) == normal(wanted)


def normal(wanted: ServerFilter) -> ServerFilter:
    """The same filter with amounts in one form."""
    bounds = [
        ServerPrices(
            each.currency, *(bound if bound is None else bound.normalize() for bound in (each.minimum, each.maximum))
        )
        for each in wanted.prices
    ]
    return replace(wanted, prices=tuple(bounds))
