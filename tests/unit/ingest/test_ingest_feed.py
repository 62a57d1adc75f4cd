"""The meaning of a feed's columns: every column is recognised, every kind of bad row has its own message."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.index.schema import Price
from sightline_server.ingest.feed import parse_record, read_feed
from sightline_server.ingest.feed_rows import FeedRow, ParsedRow, Problem, ProblemKind
from sightline_server.ingest.feeds.records import Record
from sightline_server.ingest.feeds.texts import as_text
from tests.support.feeds import feed_file, problems_of, products_of, rows_of, skipped_rows, warnings_of

HEADER = "id,title,image_link,price,color"


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
    [row] = rows_of(feed_file(tmp_path, ",".join(columns) + "\n" + quoted + "\n"))

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
    feed = feed_file(tmp_path, "\n".join(lines))
    assert skipped_rows(feed) == [
        (3, ProblemKind.NO_ID),
        (5, ProblemKind.DUPLICATE_ID),
        (7, ProblemKind.NO_IMAGE),
        (8, ProblemKind.MALFORMED_ROW),
    ]
    assert warnings_of(feed) == [(6, ProblemKind.BAD_PRICE)]
    assert products_of(feed) == ["p1", "p2", "p5"]
    [duplicate] = [problem for problem in problems_of(feed) if problem.row == 5]
    assert str(duplicate) == "row 5, line 6 (p1): the id is the same as in row 2"


def test_a_product_of_more_than_20_images_keeps_the_first_20(tmp_path: Path) -> None:
    links = ",".join(f"{number}.jpg" for number in range(20))
    feed = feed_file(tmp_path, f'id,image_link,additional_image_link\np1,main.jpg,"{links}"\n')
    [row] = [row for row in read_feed(feed) if isinstance(row, FeedRow)]
    assert row.images == ("main.jpg", *(f"{number}.jpg" for number in range(19)))
    [problem] = problems_of(feed)
    assert (problem.kind, problem.skipped) == (ProblemKind.TOO_MANY_IMAGES, False)
    assert str(problem) == "row 2 (p1): 21 images, the first 20 are taken"


def test_long_texts_are_cut_and_the_product_stays(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, f"id,image_link,title,description\np1,a.jpg,{'t' * 1001},{'d' * 400_000}\n")
    [row] = [row for row in read_feed(feed) if isinstance(row, FeedRow)]
    assert (len(row.product.title), len(row.product.attributes["description"])) == (1000, 5000)
    assert warnings_of(feed) == [(2, ProblemKind.TEXT_CUT)] * 2


@pytest.mark.parametrize("size", [65_000, 65_600])
def test_a_row_over_64_kibibytes_is_a_problem(tmp_path: Path, size: int) -> None:
    feed = feed_file(tmp_path, f"id,image_link,x\np1,a.jpg,{'ü' * (size // 2)}\np2,b.jpg,y\n")
    assert skipped_rows(feed) == ([(2, ProblemKind.ROW_TOO_LARGE)] if size > 65_536 else [])
    assert products_of(feed)[-1] == "p2"


def test_messages_hold_no_control_characters(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, "id,image_link,price,availability\nv\x1b[31m1,a.jpg,\x1b]0;x\x07,\x1b[1m\n")
    texts = [str(problem) for problem in problems_of(feed)]
    assert len(texts) == 2
    assert all(text.isprintable() for text in texts)


def test_columns_without_a_name_are_no_columns(tmp_path: Path) -> None:
    [row] = rows_of(feed_file(tmp_path, "id,image_link,,\np1,a.jpg,x,y\n"))
    assert row.product.attributes == {}


TEXTS = ["", " ", "a", "a.jpg", "a.jpg,b.jpg", ",", "15 USD", "\0", "é"]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["id", "image_link", "price", "additional_image_link", "x"]), JSON_VALUES))
def test_any_record_is_a_row_or_a_problem(values: dict[str, object]) -> None:
    outcome = parse_record(Record(7, values))
    if isinstance(outcome, ParsedRow):
        row = outcome.row
        assert row.row == 7
        assert row.product.id
        assert 1 <= len(row.images) == len(set(row.images)) <= 20
        assert all(isinstance(text, str) and text for text in row.product.attributes.values())
        assert not any(warning.skipped for warning in outcome.warnings)
    else:
        assert isinstance(outcome, Problem)
        assert (outcome.row, outcome.skipped) == (7, True)


@given(st.integers(0, 10**15))
def test_whole_numbers_keep_their_digits(number: int) -> None:
    assert as_text(number) == as_text(float(number)) == str(number)
