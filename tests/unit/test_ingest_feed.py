"""Feeds: four kinds of file, the column names that shops write, and every kind of bad row."""

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import Price
from sightline_server.ingest.feed import FeedRow, Problem, ProblemKind, as_text, parse_price, parse_row, read_feed
from sightline_server.ingest.tables import Record, column_name, count_rows

HEADER = "id,title,image_link,price,color"


def text_feed(folder: Path, text: str, name: str = "feed.csv") -> Path:
    feed = folder / name
    feed.write_bytes(text.encode())
    return feed


def rows_of(feed: Path) -> list[FeedRow]:
    rows = list(read_feed(feed))
    assert all(isinstance(row, FeedRow) for row in rows), rows
    return [row for row in rows if isinstance(row, FeedRow)]


def problems_of(feed: Path) -> list[tuple[int, ProblemKind]]:
    return [(row.row, row.kind) for row in read_feed(feed) if isinstance(row, Problem)]


def test_every_column_finds_its_place(tmp_path: Path) -> None:
    columns = {
        "id": "p1",
        "Title": " Oak chair ",
        "g:brand": "Acme",
        "product type": "Furniture > Chairs",
        "price": "15.00 USD",
        "Availability": "In Stock",
        "link": "https://shop.example/p1",
        "image-link": "a.jpg",
        "additional image link": "b.jpg, c.jpg,a.jpg,,",
        "item_group_id": "g1",
        "gtin": "4006381333931",
        "color": "oak",
        "description": "Sits well, lasts long",
        "material": "",
    }
    quoted = ",".join(f'"{value}"' for value in columns.values())
    [row] = rows_of(text_feed(tmp_path, ",".join(columns) + "\n" + quoted + "\n"))

    assert row.row == 2
    assert row.images == ("a.jpg", "b.jpg", "c.jpg")
    assert row.price == Price(Decimal("15.00"), "USD")
    product = row.product
    assert (product.id, product.title, product.brand, product.category) == (
        *("p1", "Oak chair", "Acme", "Furniture > Chairs"),
    )
    assert (product.price, product.availability, product.link) == ("15.00 USD", "in_stock", "https://shop.example/p1")
    assert (product.image_link, product.item_group_id, product.gtin) == ("a.jpg", "g1", "4006381333931")
    assert product.attributes == {"color": "oak", "description": "Sits well, lasts long"}


@pytest.mark.parametrize(
    ("name", "delimiter", "prefix", "newline"),
    [
        ("feed.csv", ",", "", "\n"),
        ("feed.csv", ";", "\ufeff", "\r\n"),
        ("feed.tsv", "\t", "", "\n"),
        ("feed.TXT", "\t", "\ufeff", "\n"),
    ],
)
def test_delimited_texts_of_all_dialects(tmp_path: Path, name: str, delimiter: str, prefix: str, newline: str) -> None:
    lines = [delimiter.join(line) for line in (["id", "image_link", "title"], ["p1", "a.jpg", "Grün"], ["p2", "b.jpg"])]
    feed = text_feed(tmp_path, prefix + newline.join(lines) + newline, name)
    assert [(row.row, row.product.id, row.product.title) for row in rows_of(feed)] == [(2, "p1", "Grün"), (3, "p2", "")]
    assert count_rows(feed) == 2


def test_json_lines(tmp_path: Path) -> None:
    values = {
        "id": 12,
        "image_link": "a.jpg",
        "additional_image_link": ["b.jpg", " c.jpg "],
        "adult": False,
        "size": None,
    }
    feed = text_feed(tmp_path, "\n" + json.dumps(values) + "\n[1]\n{broken\n", "feed.jsonl")
    first, *others = read_feed(feed)
    assert isinstance(first, FeedRow)
    assert (first.row, first.product.id, first.images) == (2, "12", ("a.jpg", "b.jpg", "c.jpg"))
    assert first.product.attributes == {"adult": "no"}
    assert problems_of(feed) == [(3, ProblemKind.MALFORMED_ROW), (4, ProblemKind.MALFORMED_ROW)]
    assert len(others) == 2


def test_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ID": ["p1", "p2"],
            "image_link": ["a.jpg", "b.jpg"],
            "additional_image_link": [["c.jpg"], None],
            "gtin": [4006381333931.0, None],
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet")
    rows = rows_of(tmp_path / "feed.parquet")
    assert [(row.row, row.images, row.product.gtin) for row in rows] == [
        (1, ("a.jpg", "c.jpg"), "4006381333931"),
        (2, ("b.jpg",), ""),
    ]
    assert count_rows(tmp_path / "feed.parquet") == 2


def test_bad_rows_are_told_apart_and_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    lines = [
        HEADER,
        'p1,"a title\nof two lines",a.jpg,15.00 USD,red',
        ",no id,a.jpg,,",
        "",
        "p1,again,b.jpg,,",
        "p2,bad price,a.jpg,15,",
        "p3,no image,,,",
        "p4,too,many,fields,in,this,row",
        "p5,,e.jpg,,",
    ]
    feed = text_feed(tmp_path, "\n".join(lines))
    assert problems_of(feed) == [
        (3, ProblemKind.NO_ID),
        (5, ProblemKind.DUPLICATE_ID),
        (6, ProblemKind.BAD_PRICE),
        (7, ProblemKind.NO_IMAGE),
        (8, ProblemKind.MALFORMED_ROW),
    ]
    good = [row.product.id for row in read_feed(feed) if isinstance(row, FeedRow)]
    assert good == ["p1", "p5"]
    [duplicate] = [row for row in read_feed(feed) if isinstance(row, Problem) and row.row == 5]
    assert str(duplicate) == "row 5 (p1): the id stands in row 2 already"


def test_more_pictures_than_a_product_may_have(tmp_path: Path) -> None:
    links = ",".join(f"{number}.jpg" for number in range(20))
    feed = text_feed(tmp_path, f'id,image_link,additional_image_link\np1,main.jpg,"{links}"\n')
    assert problems_of(feed) == [(2, ProblemKind.TOO_MANY_IMAGES)]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("feed.xlsx", b"", "unknown kind of feed"),
        ("feed.csv", b"", "no column id and no column image_link"),
        ("feed.csv", b"id,title\np1,x\n", "no column image_link; its columns are: id, title"),
        ("feed.csv", b"id,image_link,ID\n", "the column id more than once"),
        ("feed.csv", b"id,image_link\np1,\xff\xfe\n", "not UTF-8"),
        ("feed.csv", b'id,image_link\np1,"' + b"x" * 2_000_000, "row 2: not readable as a table"),
        ("feed.jsonl", b'{"id": "\xff"}', "not UTF-8"),
        ("feed.parquet", b"PAR1 no", "cannot be read"),
    ],
)
def test_feeds_that_cannot_be_used_at_all(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SightlineError, match=words) as caught:
        list(read_feed(tmp_path / name))
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_a_feed_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="no such feed"):
        list(read_feed(tmp_path / "feed.csv"))


def test_columns_without_a_name_are_no_columns(tmp_path: Path) -> None:
    [row] = rows_of(text_feed(tmp_path, "id,image_link,,\np1,a.jpg,x,y\n"))
    assert row.product.attributes == {}


@pytest.mark.parametrize("raw", ["image_link", "Image Link", " IMAGE-LINK ", "g:image_link", "g:Image  link"])
def test_column_names_as_shops_write_them(raw: str) -> None:
    assert column_name(raw) == "image_link"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("15.00 USD", "15.00 USD"), ("0 JPY", "0 JPY"), ("1500.5eur", "1500.5 EUR"), ("15.00\tGBP", "15.00 GBP")],
)
def test_prices(text: str, expected: str) -> None:
    assert str(parse_price(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "15", "USD", "USD 15.00", "-1 USD", "15,00 EUR", "1,500.00 USD", "15.00 US", "15.00 $"),
        *("15.00 USD extra", "1e3 USD", "nan USD", "15.12345 USD", "1" * 15 + " USD", "٣ USD"),
    ],
)
def test_texts_that_are_no_prices(text: str) -> None:
    assert parse_price(text) is None


TEXTS = ["", " ", "a", "a.jpg", "a.jpg,b.jpg", ",", "15 USD", "\0", "é"]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["id", "image_link", "price", "additional_image_link", "x"]), JSON_VALUES))
def test_any_record_is_a_row_or_a_problem(values: dict[str, object]) -> None:
    outcome = parse_row(Record(7, values))
    assert outcome.row == 7
    if isinstance(outcome, FeedRow):
        assert outcome.product.id
        assert 1 <= len(outcome.images) == len(set(outcome.images)) <= 20
        assert all(isinstance(text, str) and text for text in outcome.product.attributes.values())
    else:
        assert outcome.skipped


@given(st.integers(0, 10**15))
def test_whole_numbers_keep_their_digits(number: int) -> None:
    assert as_text(number) == as_text(float(number)) == str(number)
