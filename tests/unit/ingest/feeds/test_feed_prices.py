"""Prices and availability in the spellings of shops, and how much of a row they may cost: nothing."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.errors import SightlineError
from sightline_server.index.schema import PRICE_TYPE, Price
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, ProblemKind
from sightline_server.ingest.feeds.availability import availability_value
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat, checked_currency
from sightline_server.ingest.feeds.prices import PriceError, PriceRules, parse_price
from tests.support.feeds import feed_file, products_of, warnings_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("15.00 USD", "15.00 USD"), ("0 JPY", "0 JPY"), ("1500.5eur", "1500.5 EUR"), ("15.00\tGBP", "15.00 GBP")),
        *(("15,00 EUR", "15.00 EUR"), ("1.299,00 EUR", "1299.00 EUR"), ("1,299.00 USD", "1299.00 USD")),
        *(("EUR 15.00", "15.00 EUR"), ("EUR15.00", "15.00 EUR"), ("15.00USD", "15.00 USD"), ("€15", "15 EUR")),
        *(("15,- €", "15 EUR"), ("15,\u2013 €", "15 EUR"), ("CHF 15.-", "15 CHF"), ("CHF 15.--", "15 CHF")),
        *(("1'299.00 CHF", "1299.00 CHF"), ("1\u2019299.00 CHF", "1299.00 CHF"), ("1 299,00 SEK", "1299.00 SEK")),
        *(("1\u202f299,00\u00a0€", "1299.00 EUR"), ("1\u00a0299\u00a0000 RUB", "1299000 RUB")),
        *(("₹1,23,456.50", "123456.50 INR"), ("INR 12,34,567", "1234567 INR"), ("1.234.567 EUR", "1234567 EUR")),
        *(("US$ 25", "25 USD"), ("US$1,299.95", "1299.95 USD"), ("CA$5", "5 CAD"), ("A$ 5", "5 AUD")),
        *(("R$ 1.234,56", "1234.56 BRL"), ("$15 CAD", "15 CAD"), ("15 $ USD", "15 USD"), ("€15 EUR", "15 EUR")),
        *(("1500,00zł", "1500.00 PLN"), ("1.500,00 Kč", "1500.00 CZK"), ("£5.99", "5.99 GBP"), ("₺10", "10 TRY")),
        *(("1,234 JPY", "1234 JPY"), ("1.234 CLP", "1234 CLP"), ("JP¥1,234", "1234 JPY"), ("1.234円", "1234 JPY")),
        *(("15 euros", "15 EUR"), ("15 us dollars", "15 USD"), ("Rp 15.000.000", "15000000 IDR")),
        *(("0,500 EUR", "0.500 EUR"), ("1234.567 KWD", "1234.567 KWD"), ("12.345,678 EUR", "12345.678 EUR")),
        *(
            ("15. EUR", "15 EUR"),
            ("15.00000 USD", "15.0000 USD"),
            ("99999999999999.9999 USD", "99999999999999.9999 USD"),
        ),
    ],
)
def test_prices_that_can_be_read_in_one_way(text: str, expected: str) -> None:
    assert str(parse_price(text)) == expected


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("1.234 EUR", "1.234 EUR", "1234 EUR"),
        ("1,234 EUR", "1234 EUR", "1.234 EUR"),
        ("12.345 KWD", "12.345 KWD", "12345 KWD"),
        ("€ 999,000", "999000 EUR", "999.000 EUR"),
    ],
)
def test_an_amount_of_two_readings_needs_the_price_format(text: str, point: str, comma: str) -> None:
    with pytest.raises(PriceError, match="--price-format point or comma"):
        parse_price(text)
    assert str(parse_price(text, PriceRules(PriceFormat.POINT))) == point
    assert str(parse_price(text, PriceRules(PriceFormat.COMMA))) == comma


@pytest.mark.parametrize("text", ["1.299,00 EUR", "1,299.00 EUR", "15,5 EUR", "15.5 EUR", "1.234.567 EUR"])
def test_the_price_format_does_not_touch_clear_amounts(text: str) -> None:
    prices = {parse_price(text, PriceRules(price_format)) for price_format in PriceFormat}
    assert len(prices) == 1


@pytest.mark.parametrize(
    ("text", "currency", "expected"),
    [
        ("25", "EUR", "25 EUR"),
        ("$15.00", "CAD", "15.00 CAD"),
        ("15 kr", "SEK", "15 SEK"),
        ("¥1,500", "JPY", "1500 JPY"),
        ("15 USD", "EUR", "15 USD"),
        ("$15.00", "EUR", None),
        ("$15.00", "", None),
        ("15 kr.", "", None),
        ("25", "", None),
    ],
)
def test_a_shared_sign_or_none_needs_the_currency(text: str, currency: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(PriceError, match="--currency"):
            parse_price(text, PriceRules(currency=currency))
    else:
        assert str(parse_price(text, PriceRules(currency=currency))) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "USD", "-1 USD", "\u22125,00 €", "(15.00) USD", "15.00 US", "15.00 ABC", "15.00 USD extra", "from $5"),
        *("1e3 USD", "nan USD", "15.12345 USD", "1" * 15 + " USD", "٣ USD", "10-20 EUR", "5 EUR 5", "15 €/m"),
        *("12,34,5 EUR", "1.299.00 EUR", "1 2 3 EUR", "15 EUR USD", "15:00 EUR", "ask", "$.99", "9" * 100 + " EUR"),
        *("\0 EUR", "15 EUR\x1b[31m", "1,2,3,4 EUR", "1..5 EUR", ",5 EUR"),
    ],
)
def test_texts_that_are_no_prices_are_refused(text: str) -> None:
    with pytest.raises(PriceError) as caught:
        parse_price(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@given(st.text(alphabet="0123456789.,' -€$EURkr\u00a0\u2013", max_size=20))
def test_any_text_is_a_price_that_the_catalog_holds_or_an_error(text: str) -> None:
    try:
        price = parse_price(text)
    except PriceError:
        return
    assert price.amount >= 0
    assert pa.scalar(price.amount, PRICE_TYPE).as_py() == price.amount


@given(
    st.integers(0, 10**14 - 1),
    st.integers(0, 99),
    st.sampled_from([(",", "."), (".", ","), (" ", ","), ("\u00a0", "."), ("'", "."), ("\u2019", ",")]),
)
def test_every_grouping_gives_the_same_amount(whole: int, cents: int, signs: tuple[str, str]) -> None:
    thousands, decimal = signs
    text = f"{whole:,}".replace(",", thousands) + f"{decimal}{cents:02} EUR"
    assert parse_price(text).amount == Decimal(whole) + Decimal(cents) / 100


def test_no_price_costs_the_product(tmp_path: Path) -> None:
    prices = ["15,00 EUR", "1.299,00 EUR", "1,299.00 USD", "EUR 15.00", "25", "1.234 EUR", "on request", "-1 USD"]
    lines = [f'q{number},a.jpg,"{price}"' for number, price in enumerate(prices)]
    feed = feed_file(tmp_path, "id,image_link,price\n" + "\n".join(lines))
    assert len(products_of(feed)) == len(prices)
    assert warnings_of(feed) == [(row, ProblemKind.BAD_PRICE) for row in (6, 7, 8, 9)]
    rows = [row for row in read_feed(feed) if isinstance(row, FeedRow)]
    assert [row.product.price for row in rows] == ["15.00 EUR", "1299.00 EUR", "1299.00 USD", "15.00 EUR", *[""] * 4]
    assert rows[4].price is None


def test_a_currency_column_and_the_option_complete_bare_amounts(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, "id,image_link,price,currency,sale_price\np1,a.jpg,25,gbp,20\np2,a.jpg,30,,20\n")
    rows = [row for row in read_feed(feed, FeedOptions(currency="EUR")) if isinstance(row, FeedRow)]
    assert [row.price for row in rows] == [Price(Decimal(25), "GBP"), Price(Decimal(30), "EUR")]
    assert rows[0].product.attributes == {"currency": "gbp", "sale_price": "20"}


def test_the_currency_option_is_an_iso_code() -> None:
    assert (checked_currency("eur"), checked_currency("")) == ("EUR", "")
    with pytest.raises(SightlineError, match="'euro' is not an ISO 4217 code"):
        checked_currency("euro")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, "in_stock") for text in ("in stock", "in_stock", "In Stock", "IN_STOCK", "InStock", "in-stock")),
        *((f"{prefix}schema.org/InStock", "in_stock") for prefix in ("https://", "http://", "//", "https://www.")),
        *((text, "in_stock") for text in ("available for order", "LimitedAvailability", "OnlineOnly", "InStoreOnly")),
        *((text, "in_stock") for text in ("MadeToOrder", "https://schema.org/MadeToOrder", " available ")),
        *((text, "out_of_stock") for text in ("out of stock", "out_of_stock", "OutOfStock", "SoldOut", "sold out")),
        *((text, "out_of_stock") for text in ("discontinued", "Discontinued", "Reserved", "http://schema.org/SoldOut")),
        *((text, "preorder") for text in ("preorder", "pre-order", "PreOrder", "Pre Order", "PREORDER", "PreSale")),
        *((text, "backorder") for text in ("backorder", "BackOrder", "back order", "on backorder", "BACKORDER")),
        *((text, None) for text in ("soon", "5", "yes", "https://schema.org/", "instock maybe", "")),
    ],
)
def test_spellings_of_availability(text: str, expected: str | None) -> None:
    assert availability_value(text) == expected


def test_an_unknown_availability_is_kept_as_an_attribute(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, "id,image_link,availability\ns1,a.jpg,SoldOut\ns2,a.jpg,Next week\n")
    first, second = (row.product for row in read_feed(feed) if isinstance(row, FeedRow))
    assert (first.availability, first.attributes) == ("out_of_stock", {})
    assert (second.availability, second.attributes) == ("", {"availability": "Next week"})
    assert warnings_of(feed) == [(3, ProblemKind.BAD_AVAILABILITY)]


@pytest.mark.parametrize(
    ("column", "option", "expected"),
    [
        *(("€", "", "25 EUR"), ("Euro", "USD", "25 EUR"), ("US Dollar", "", "25 USD"), ("gbp", "EUR", "25 GBP")),
        *(("RUR", "", "25 RUB"), ("£", "", "25 GBP"), ("kr", "SEK", "25 SEK"), ("$", "CAD", "25 CAD")),
        *(("$", "", ""), ("kr", "EUR", ""), ("XYZ", "EUR", "")),
    ],
)
def test_a_currency_column_gives_a_code_or_nothing(tmp_path: Path, column: str, option: str, expected: str) -> None:
    feed = feed_file(tmp_path, f"id,image_link,price,currency\np1,a.jpg,25,{column}\np2,a.jpg,5 CHF,{column}\n")
    rows = [row for row in read_feed(feed, FeedOptions(currency=option)) if isinstance(row, FeedRow)]
    assert [row.product.price for row in rows] == [expected, "5 CHF"]


@pytest.mark.parametrize(
    ("text", "expected"), [("1.299,- €", "1299 EUR"), ("1,299.- CHF", "1299 CHF"), ("1.299,\u2013 €", "1299 EUR")]
)
def test_the_sign_of_no_decimals_makes_the_other_one_thousands(text: str, expected: str) -> None:
    assert {str(parse_price(text, PriceRules(rule))) for rule in PriceFormat} == {expected}


@pytest.mark.parametrize("text", ["12.50- EUR", "EUR 12,50-", "5- EUR", "1.299,00- EUR"])
def test_a_trailing_minus_is_not_read_as_a_price(text: str) -> None:
    with pytest.raises(PriceError):
        parse_price(text)


def test_prices_of_floats_are_read_without_their_noise(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, '{"id":"p1","image_link":"a.jpg","price":0.30000000000000004}\n', "feed.jsonl")
    [row] = [row for row in read_feed(feed, FeedOptions(currency="EUR")) if isinstance(row, FeedRow)]
    assert row.product.price == "0.3 EUR"
    values = [19.99, 12999.99, 5.0, None]
    table = {"id": list("abcd"), "image_link": ["a.jpg"] * 4, "price": pa.array(values, pa.float32())}
    pq.write_table(pa.table(table), tmp_path / "feed.parquet")
    rows = [
        row for row in read_feed(tmp_path / "feed.parquet", FeedOptions(currency="EUR")) if isinstance(row, FeedRow)
    ]
    assert [row.product.price for row in rows] == ["19.99 EUR", "12999.99 EUR", "5 EUR", ""]
