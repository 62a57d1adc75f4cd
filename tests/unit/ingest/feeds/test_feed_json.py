"""JSON feeds: lines, documents, the shapes of Google's APIs, and JSON that is hostile or cut."""

import json
from pathlib import Path

import pytest

from sightline_server.errors import SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, ProblemKind
from sightline_server.ingest.feeds import json_document
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import count_rows
from tests.support.feeds import feed_file, problems_of, products_of, rows_of, skipped_rows

CONTENT_API = {
    "kind": "content#product",
    "id": "online:en:DE:o1",
    "offerId": "o1",
    "title": "Cup",
    "imageLink": "a.jpg",
    "additionalImageLinks": ["b.jpg", "c.jpg"],
    "price": {"value": "1.234", "currency": "EUR"},
    "salePrice": {"value": "9.50", "currency": "EUR"},
    "productTypes": ["Kitchen > Cups", "Gifts"],
    "availability": "in stock",
    "itemGroupId": "g1",
    "gtin": "4006381333931",
}
MERCHANT_API = {
    "name": "accounts/1/productInputs/en~US~o1",
    "offerId": "o1",
    "contentLanguage": "en",
    "productAttributes": {
        "title": "Cup",
        "imageLink": "a.jpg",
        "additionalImageLinks": ["b.jpg", "c.jpg"],
        "price": {"amountMicros": "1234000", "currencyCode": "EUR"},
        "salePrice": {"amountMicros": "9500000", "currencyCode": "EUR"},
        "productTypes": ["Kitchen > Cups"],
        "availability": "IN_STOCK",
        "itemGroupId": "g1",
        "gtins": ["4006381333931"],
    },
}


@pytest.mark.parametrize(
    "item",
    [
        CONTENT_API,
        MERCHANT_API,
        {**{name: value for name, value in MERCHANT_API.items() if name != "productAttributes"}}
        | {"attributes": MERCHANT_API["productAttributes"]},
        {"batchId": 1, "product": CONTENT_API},
    ],
)
def test_products_of_googles_apis(tmp_path: Path, item: dict[str, object]) -> None:
    [row] = rows_of(feed_file(tmp_path, json.dumps(item) + "\n", "feed.jsonl"))
    product = row.product
    assert (product.id, product.title, product.category) == ("o1", "Cup", "Kitchen > Cups")
    assert (product.price, product.availability, product.item_group_id) == ("1.234 EUR", "in_stock", "g1")
    assert product.gtin == "4006381333931"
    assert product.attributes["sale_price"] in ("9.50 EUR", "9.5 EUR")
    assert row.images == ("a.jpg", "b.jpg", "c.jpg")


ITEMS = [{"id": f"p{number}", "image_link": "a.jpg", "title": '{["\\]}'} for number in range(3)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ITEMS),
        json.dumps(ITEMS, indent=2),
        "\ufeff" + json.dumps(ITEMS),
        "[\n" + ",\n".join(json.dumps(item) for item in ITEMS) + "\n]\n",
        json.dumps({"products": ITEMS}),
        json.dumps({"kind": "list", "count": 3, "resources": ITEMS}, indent=4),
        json.dumps({"items": ITEMS, "more": {"x": [1]}}),
        json.dumps({"status": "ok", "data": {"count": 3, "products": ITEMS}, "end": None}),
        "\n".join(json.dumps(item) for item in ITEMS),
        "\r\n".join(json.dumps(item) for item in ITEMS),
    ],
)
@pytest.mark.parametrize("name", ["feed.json", "feed.jsonl", "export"])
def test_lines_and_documents(tmp_path: Path, text: str, name: str) -> None:
    feed = feed_file(tmp_path, text, name)
    assert [(row.product.id, row.product.title) for row in rows_of(feed)] == [
        (f"p{number}", '{["\\]}') for number in range(3)
    ]
    assert count_rows(feed) == 3


def test_one_object_over_several_lines_is_one_product(tmp_path: Path) -> None:
    item = {"id": "p1", "image_link": "a.jpg", "shipping": [{"country": "DE"}]}
    feed = feed_file(tmp_path, json.dumps(item, indent=2), "feed.json")
    assert rows_of(feed)[0].product.attributes == {"shipping": '{"country": "DE"}'}


def test_a_document_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps([{**item, "title": 'x"\\' * 30} for item in ITEMS], indent=1)
    for chars in (1, 2, 3, 7, 64):
        monkeypatch.setattr(json_document, "CHUNK_CHARS", chars)
        rows = rows_of(feed_file(tmp_path, text, "feed.json"))
        assert [row.product.title for row in rows] == ['x"\\' * 30] * 3


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ITEMS)[:-1],
        json.dumps(ITEMS)[:-10],
        json.dumps(ITEMS) + "x",
        json.dumps(ITEMS).replace("}, {", "} {"),
        json.dumps(ITEMS).replace("}, {", "}, 5, {"),
        json.dumps(ITEMS).replace("}, {", "], {"),
        json.dumps({"products": ITEMS})[:-1],
        '[{"id": "p0", "image_link": "a.jpg"},]',
        json.dumps(ITEMS).replace('"p1"', '"p1'),
        json.dumps(ITEMS).replace('"p1",', '"p1"'),
    ],
)
def test_a_broken_document_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    with pytest.raises(SightlineError, match="is not valid JSON: object"):
        products_of(feed_file(tmp_path, text, "feed.json"))


def test_one_page_of_several_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"resources": ITEMS, "nextPageToken": "abc"})
    with pytest.raises(SightlineError, match="one page of several"):
        products_of(feed_file(tmp_path, text, "feed.json"))


HOSTILE = [
    "[" * 100_000,
    '{"id": ' + "[" * 100_000,
    '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"id": "h", "image_link": "a.jpg", "title": "\\ud800"}',
    '{"id": "\\udfff", "image_link": "a.jpg"}',
    '{"id": 1e999, "image_link": "a.jpg"}',
    '{"id": "h", "image_link": "a.jpg", "weight": -Infinity}',
    '{"id": ' + "9" * 5000 + ', "image_link": "a.jpg"}',
    '{"id": "h", "image_link": "a.jpg", "id": "other"}',
    '{"id": "h", "image_link": "a.jpg", "title": "' + "T" * 3_000_000 + '"}',
    '{"id": "h", "image_link": "a.jpg"',
    '{"id": NaN, "image_link": "a.jpg"}',
    "[1]",
    "null",
    '"text"',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_hostile_line_costs_one_row(tmp_path: Path, line: str) -> None:
    good = '{"id": "%s", "image_link": "a.jpg"}'
    feed = feed_file(tmp_path, "\n".join([good % "p1", line, good % "p2"]), "feed.jsonl")
    assert products_of(feed) == ["p1", "p2"]
    [problem] = problems_of(feed)
    assert (problem.row, problem.skipped) == (2, True)
    assert len(problem.text) < 200


@pytest.mark.parametrize("line", [line for line in HOSTILE if line.startswith("{") and line.endswith("}")])
def test_a_hostile_object_of_a_document_costs_one_row(tmp_path: Path, line: str) -> None:
    good = '{"id": "%s", "image_link": "a.jpg"}'
    feed = feed_file(tmp_path, "[" + ",\n".join([good % "p1", line, good % "p2"]) + "]", "feed.json")
    assert products_of(feed) == ["p1", "p2"]
    assert [row for row, _ in skipped_rows(feed)] == [2]


def test_lines_have_their_own_numbers(tmp_path: Path) -> None:
    values = {"id": 12, "image_link": "a.jpg", "additional_image_link": ["b.jpg", " c.jpg "], "adult": False, "n": None}
    feed = feed_file(tmp_path, "\n" + json.dumps(values) + "\n[1]\n{broken\n", "feed.jsonl")
    first = next(row for row in read_feed(feed) if isinstance(row, FeedRow))
    assert (first.row, first.product.id, first.images) == (2, "12", ("a.jpg", "b.jpg", "c.jpg"))
    assert first.product.attributes == {"adult": "no"}
    assert skipped_rows(feed) == [(3, ProblemKind.MALFORMED_ROW), (4, ProblemKind.MALFORMED_ROW)]


def test_a_bad_byte_costs_its_line(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, b'{"id": "p1", "image_link": "\xff"}\n{"id": "p2", "image_link": "a.jpg"}\n', "f.jsonl")
    assert products_of(feed) == ["p2"]


def test_shopify_products_have_the_price_of_their_first_variant(tmp_path: Path) -> None:
    variants = [{"id": number, "price": f"{19 + number}.00", "title": "V" * 400} for number in range(250)]
    product = {"id": 632, "handle": "cup", "title": "Cup", "vendor": "Acme", "variants": variants}
    product["images"] = [{"id": 1, "src": "https://c/a.jpg"}, {"id": 2, "src": "https://c/b.jpg"}]
    feed = feed_file(tmp_path, json.dumps({"products": [product]}), "feed.json")
    [row] = rows_of(feed, FeedOptions(currency="USD"))
    assert (row.product.id, row.product.price, row.product.brand) == ("632", "19.00 USD", "Acme")
    assert row.images == ("https://c/a.jpg", "https://c/b.jpg")
