"""CSV, TSV and their relatives: quotes, headers, encodings, and rows that must never run into one another."""

import codecs
from pathlib import Path

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, ProblemKind
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import count_rows
from tests.support.feeds import feed_file, problems_of, products_of, rows_of, skipped_rows, warnings_of

MALFORMED = ProblemKind.MALFORMED_ROW


def product_rows(feed: Path) -> list[tuple[int, str, str, str]]:
    """Row, id, title and price of each product."""
    rows = [row for row in read_feed(feed) if isinstance(row, FeedRow)]
    return [(row.row, row.product.id, row.product.title, row.product.price) for row in rows]


@pytest.mark.parametrize(
    ("name", "delimiter", "prefix", "newline"),
    [
        ("feed.csv", ",", "", "\n"),
        ("feed.csv", ";", "\ufeff", "\r\n"),
        ("feed.csv", "|", "", "\n"),
        ("feed.tsv", "\t", "", "\n"),
        ("feed.TXT", "\t", "\ufeff", "\r"),
        ("export", ";", "sep=;\r\n", "\r\n"),
        ("feed.csv", "|", "sep=|\n", "\n"),
        ("feed.csv", ",", '"sep=,"\n', "\n"),
    ],
)
def test_dialects_are_told_by_the_header(tmp_path: Path, name: str, delimiter: str, prefix: str, newline: str) -> None:
    lines = [delimiter.join(line) for line in (["id", "image_link", "title"], ["p1", "a.jpg", "Grün"], ["p2", "b.jpg"])]
    feed = feed_file(tmp_path, prefix + newline.join(lines) + newline, name)
    assert [(row.row, row.product.id, row.product.title) for row in rows_of(feed)] == [(2, "p1", "Grün"), (3, "p2", "")]
    assert count_rows(feed) == 2


def test_an_unclosed_quote_costs_its_own_row(tmp_path: Path) -> None:
    rows = ['k2,a.jpg,2 USD,"Shelf of 60 in.', "k3,a.jpg,3 USD,Lamp", "k4,a.jpg,4 USD,Rug"]
    feed = feed_file(tmp_path, "\n".join(["id,image_link,price,title", "k1,a.jpg,1 USD,Cup", *rows]))
    assert products_of(feed) == ["k1", "k3", "k4"]
    [problem] = problems_of(feed)
    assert (problem.row, problem.kind) == (3, MALFORMED)
    assert "a quote opens a field and is not closed" in problem.text


@pytest.mark.parametrize(
    "later",
    [
        'k3,a.jpg,3 USD,"Lamp, big"',
        'k3,"a.jpg",3 USD,Lamp',
        'k3,a.jpg,3 USD,Rug 60"',
        'k3,a.jpg,3 USD,"Lamp',
        'k3,a.jpg,"",Lamp',
        '"k3",a.jpg,3 USD,Lamp',
        'k3,a.jpg,3 USD,"say ""hi"""',
        'k3,https://cdn.example/img?id=3,"3 USD","Lamp"',
        'k3,//cdn.example/x,3 USD",Lamp',
    ],
)
@pytest.mark.parametrize(
    "opened", ['k2,a.jpg,2 USD,"Shelf', 'k2,a.jpg,"2 USD,Shelf', 'k2,"a.jpg,2 USD,Shelf', '"k2,a.jpg,2 USD,x']
)
@pytest.mark.parametrize("between", [[], ["m1,b.jpg,5 USD,Mat"], ["m1,b.jpg,5 USD,Mat", "m2,b.jpg"]])
def test_a_quote_is_never_closed_by_another_row(tmp_path: Path, opened: str, later: str, between: list[str]) -> None:
    lines = ["id,image_link,price,title", "k1,a.jpg,1 USD,Cup", opened, *between, later, "k4,a.jpg,4 USD,Vase"]
    outcome = list(read_feed(feed_file(tmp_path, "\n".join(lines) + "\n")))
    products = [row.product for row in outcome if isinstance(row, FeedRow)]
    skipped = {row.row for row in outcome if not isinstance(row, FeedRow) and row.skipped}
    assert len(products) + len(skipped) == len(lines) - 1
    assert 3 in skipped
    assert products[0].id == "k1"
    assert (products[-1].id, products[-1].title) == ("k4", "Vase")
    assert all("\n" not in product.title for product in products)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
def test_lone_quotes_of_two_rows_never_join_them(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["link", "size", "title", "image_link", "description", "id"],
        ["https://shop.example/1", '"', "Shelf", "a.jpg", "x", "p1"],
        ["https://shop.example/2", '"', "Lamp", "b.jpg", '"two\nlines"', "p2"],
        ["https://shop.example/3", "5", "Rug", "c.jpg", "y", "p3"],
    ]
    feed = feed_file(tmp_path, "\n".join(delimiter.join(row) for row in rows))
    products = [row.product for row in read_feed(feed) if isinstance(row, FeedRow)]
    links = {product.id: product.link for product in products}
    assert links["p3"] == "https://shop.example/3"
    assert links.get("p2", "https://shop.example/2") == "https://shop.example/2"
    assert ("p1" in links) == (delimiter == "\t")


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
def test_quotes_in_the_first_column_of_two_rows_never_join_them(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["size", "title", "id", "image_link", "description"],
        ['"', "Shelf", "p1", "a.jpg", "x"],
        ['60"', '"Lamp', ""],
        ['of two lines"', "p2", "b.jpg", "y"],
        ["5", "Rug", "p3", "c.jpg", "z"],
    ]
    text = "\n".join(delimiter.join(row) for row in rows).replace(f"Lamp{delimiter}", "Lamp")
    products = {row.product.id: row.product for row in read_feed(feed_file(tmp_path, text)) if isinstance(row, FeedRow)}
    assert (products["p3"].title, products["p3"].image_link) == ("Rug", "c.jpg")
    assert ("p1" in products) == (delimiter == "\t")
    assert all("Shelf" not in repr(products[name]) for name in ("p2", "p3") if name in products)


def test_quoted_line_breaks_and_doubled_quotes_are_kept(tmp_path: Path) -> None:
    text = 'id,title,image_link\np1,"Shelf, 60"" wide\nin oak, beech\nand ""ash""",a.jpg\np2,Lamp,b.jpg\n'
    first, second = rows_of(feed_file(tmp_path, text))
    assert first.product.title == 'Shelf, 60" wide\nin oak, beech\nand "ash"'
    assert (second.row, second.product.id) == (3, "p2")


def test_a_first_column_with_line_breaks_is_one_row(tmp_path: Path) -> None:
    text = 'title,id,image_link\n"Shelf\nof oak",p1,a.jpg\nLamp,p2,b.jpg\n'
    assert [(row.product.id, row.product.title) for row in rows_of(feed_file(tmp_path, text))] == [
        ("p1", "Shelf\nof oak"),
        ("p2", "Lamp"),
    ]


def test_a_line_within_quotes_that_may_be_a_row_is_a_warning(tmp_path: Path) -> None:
    text = 'id,title,image_link\np1,"Colours:\nred, blue, green\nand more",a.jpg\n'
    feed = feed_file(tmp_path, text)
    assert products_of(feed) == ["p1"]
    assert warnings_of(feed) == [(2, ProblemKind.DOUBTFUL_QUOTE)]


def test_tsv_quotes_mean_nothing_unless_they_enclose_a_field(tmp_path: Path) -> None:
    lines = [
        "id\ttitle\tlink\timage_link\tprice",
        't1\t"Wide 60 in. shelf\thttps://shop.example/1\ta.jpg\t1 USD',
        't2\t"Fully ""quoted"" cup"\thttps://shop.example/2\ta.jpg\t2 USD',
        't3\t"One\thttps://shop.example/3"\ta.jpg\t3 USD',
        't4\t"Small" shelf\thttps://shop.example/4\ta.jpg\t4 USD',
        't5\tRug 60"\thttps://shop.example/5\ta.jpg\t5 USD',
        't6\t"Two\nlines"\thttps://shop.example/6\ta.jpg\t6 USD',
    ]
    products = [row.product for row in rows_of(feed_file(tmp_path, "\n".join(lines), "feed.tsv"))]
    titles = ['"Wide 60 in. shelf', 'Fully "quoted" cup', '"One', '"Small" shelf', 'Rug 60"', "Two\nlines"]
    assert [product.title for product in products] == titles
    assert [product.price for product in products] == [f"{number} USD" for number in range(1, 7)]
    links = [product.link for product in products]
    assert links == [f"https://shop.example/{number}" + ('"' if number == 3 else "") for number in range(1, 7)]


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_both_pieces_of_a_torn_row_are_reported(tmp_path: Path, newline: str) -> None:
    lines = ["id\ttitle\tbrand\timage_link\tprice", "t1\tCup\tA\ta.jpg\t1 USD"]
    lines += ["t2\tLong", "", "title\tB\tb.jpg\t2 USD", "t3\tRug\tC\tc.jpg\t3 USD"]
    feed = feed_file(tmp_path, newline.join(lines), "feed.tsv")
    assert products_of(feed) == ["t1", "t3"]
    assert skipped_rows(feed) == [(3, MALFORMED), (5, MALFORMED)]


def test_a_short_row_between_full_ones_is_used(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, "id,image_link,title,brand\np1,a.jpg,Cup,A\np2,b.jpg\np3,c.jpg,Rug,C\n")
    assert products_of(feed) == ["p1", "p2", "p3"]


def test_rows_whose_empty_last_fields_are_left_out_are_used(tmp_path: Path) -> None:
    rows = "".join(f"p{number},a.jpg,Cup\n" for number in range(20))
    feed = feed_file(tmp_path, f"id,image_link,title,brand,price,color,size,material\n{rows}")
    assert products_of(feed) == [f"p{number}" for number in range(20)]


def test_two_products_that_may_be_one_torn_row_are_reported(tmp_path: Path) -> None:
    head = "id,image_link,title,additional_image_link"
    feed = feed_file(tmp_path, f"{head}\np1,a.jpg,Cup\nsaucer,b.jpg\np3,c.jpg,Rug,d.jpg\n")
    assert products_of(feed) == ["p3"]
    assert skipped_rows(feed) == [(2, MALFORMED), (3, MALFORMED)]


def test_rows_have_numbers_of_a_spreadsheet_and_lines_of_an_editor(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, 'id,image_link,title\np1,a.jpg,"two\nlines"\n\n,b.jpg,x\n')
    [problem] = problems_of(feed)
    assert str(problem) == "row 4, line 5: there is no id"


def test_a_field_over_one_mebibyte_costs_its_row(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, f"id,image_link\np1,a.jpg\np2,{'x' * 3_000_000}\np3,c.jpg\n")
    assert products_of(feed) == ["p1", "p3"]
    assert skipped_rows(feed) == [(3, MALFORMED)]


def test_a_quoted_field_without_an_end_is_bounded(tmp_path: Path) -> None:
    lines = [f"p{number},a.jpg,x" for number in range(3, 5000)]
    feed = feed_file(tmp_path, "\n".join(["id,image_link,title", 'p2,a.jpg,"open', *lines]))
    assert len(products_of(feed)) == len(lines)
    assert skipped_rows(feed) == [(2, MALFORMED)]


def test_remarks_above_the_header_are_passed_over(tmp_path: Path) -> None:
    remarks = '# Required | one id, at most 100 characters,"# Required | a name, ""short""",# Required | the image'
    feed = feed_file(tmp_path, f"{remarks}\nid,title,image_link\nc1,Cup,a.jpg\n#2,Rug,b.jpg\n")
    assert [(row.row, row.product.id) for row in rows_of(feed)] == [(3, "c1"), (4, "#2")]


def test_messages_about_a_header_are_short(tmp_path: Path) -> None:
    remarks = ",".join(f"# Required | {'a long remark ' * 20}{number}" for number in range(100))
    with pytest.raises(SightlineError) as caught:
        products_of(feed_file(tmp_path, f"{remarks}\n{remarks}\n"))
    assert len(caught.value.message) < 2000


def test_of_a_doubled_column_the_first_value_counts_and_links_are_joined(tmp_path: Path) -> None:
    header = "id,image_link,custom_label_0,custom_label_0,additional_image_link,additional_image_link"
    feed = feed_file(tmp_path, f'{header}\nd1,a.jpg,x,y,b.jpg,"c.jpg,d.jpg"\nd2,a.jpg,,y,,e.jpg\n')
    rows = [row for row in read_feed(feed) if isinstance(row, FeedRow)]
    assert [row.product.attributes for row in rows] == [{"custom_label_0": "x"}, {"custom_label_0": "y"}]
    assert [row.images for row in rows] == [("a.jpg", "b.jpg", "c.jpg", "d.jpg"), ("a.jpg", "e.jpg")]
    assert warnings_of(feed) == [(1, ProblemKind.DOUBLED_COLUMN)]
    assert count_rows(feed) == 2


TEXT = "id\ttitle\timage_link\r\ne1\tTüte 5 €\ta.jpg\r\ne2\tÇay\tb.jpg\r\n"


@pytest.mark.parametrize(
    ("mark", "encoding", "stated"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le", ""),
        (codecs.BOM_UTF16_BE, "utf-16-be", ""),
        (codecs.BOM_UTF16_LE, "utf-16-le", "cp1252"),
        (codecs.BOM_UTF32_LE, "utf-32-le", ""),
        (codecs.BOM_UTF8, "utf-8", ""),
        (b"", "utf-8", ""),
        (b"", "cp1252", "cp1252"),
        (b"", "iso-8859-15", "latin9"),
        (b"", "utf-16-le", "utf-16-le"),
    ],
)
def test_encodings(tmp_path: Path, mark: bytes, encoding: str, stated: str) -> None:
    feed = feed_file(tmp_path, mark + TEXT.encode(encoding), "feed.txt")
    rows = rows_of(feed, FeedOptions(encoding=stated))
    assert [(row.product.id, row.product.title) for row in rows] == [("e1", "Tüte 5 €"), ("e2", "Çay")]


@pytest.mark.parametrize(
    ("bad", "encoding"),
    [(b"T\xfcte", ""), (b"\xff\xfe\xfd", ""), (b"\xed\xa0\x80", ""), (b"\x81\x8d", "cp1252"), (b"\xf0\x9f", "")],
)
def test_a_byte_of_another_encoding_costs_its_row(tmp_path: Path, bad: bytes, encoding: str) -> None:
    feed = feed_file(tmp_path, b"id,image_link,title\np1,a.jpg,x\np2,b.jpg," + bad + b"\np3,c.jpg,y\n")
    options = FeedOptions(encoding=encoding)
    assert products_of(feed, options) == ["p1", "p3"]
    assert skipped_rows(feed, options) == [(3, MALFORMED)]


def test_utf16_that_is_cut_costs_its_last_row(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"))[:-5], "feed.txt")
    assert products_of(feed) == ["e1"]


def test_other_line_separators_of_unicode_are_characters(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, "id,image_link,title\np1,a.jpg,one\u2028two\x0bthree\x85four\x0cfive\n")
    assert rows_of(feed)[0].product.title == "one\u2028two\x0bthree\x85four\x0cfive"


@pytest.mark.parametrize(
    ("content", "encoding", "words"),
    [
        (b"", "", "is empty"),
        (b"id,title\np1,x\n", "", "no column image_link; its columns are: id, title"),
        (b"title\tprice\nx\t1\n", "", "no column id and no column image_link"),
        (b"id,image_link\n", "rot13", "unknown encoding 'rot13'"),
        (b"id,image_link\n", "base64", "unknown encoding"),
        (b"id,image_link\n", "utf-99", "unknown encoding"),
        (b"id,image_link\n", "punycode", "unknown encoding"),
        (TEXT.encode("utf-16-le"), "", "try --encoding utf-16-le"),
    ],
)
def test_tables_that_cannot_be_used_at_all(tmp_path: Path, content: bytes, encoding: str, words: str) -> None:
    with pytest.raises(SightlineError, match=words) as caught:
        products_of(feed_file(tmp_path, content), FeedOptions(encoding=encoding))
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "cell",
    [
        *("https://c/a.jpg" + "," * 900_000, "a.jpg" + " " * 900_000 + "x", "a," * 400_000, ".jpg?" * 180_000),
        *('"' + '""' * 400_000, '"' + '"",' * 200_000, "schema.org/" * 80_000, "1." * 400_000, "[" * 900_000),
    ],
)
def test_a_long_cell_takes_time_in_proportion(tmp_path: Path, cell: str) -> None:
    feed = feed_file(tmp_path, f"id,image_link,price,availability\np1,{cell}\np2,x,{cell}\np3,b.jpg,1 USD,new\n")
    assert products_of(feed)[-1:] == ["p3"]


@pytest.mark.timeout(20)
def test_a_header_of_very_many_columns_takes_time_in_proportion(tmp_path: Path) -> None:
    names = ["id", "image_link", *(f"c{number}" for number in range(100_000))]
    feed = feed_file(tmp_path, ",".join(names) + "\np1,a.jpg,x\n")
    assert products_of(feed) == ["p1"]


@pytest.mark.parametrize("before", ["", "p0,Mat,plain,c.jpg,1 EUR\n"])
def test_a_last_line_of_prose_is_no_product(tmp_path: Path, before: str) -> None:
    header = "id,title,description,image_link,price\n"
    row = 'p1,Table,"Solid oak.\nMade of oak, steel, glass",a.jpg,5 EUR\n'
    rows = rows_of(feed_file(tmp_path, f"{header}{before}{row}p2,Chair,ok,b.jpg,6 EUR\n"))
    assert [row.product.id for row in rows][-2:] == ["p1", "p2"]
    assert rows[-2].product.attributes["description"] == "Solid oak.\nMade of oak, steel, glass"


def test_the_end_of_a_torn_row_stays_a_row(tmp_path: Path) -> None:
    rows = 'p1,Table,"19 in. rack\np2,Chair,rack of 19",b.jpg,6 EUR\np3,Lamp,ok,c.jpg,7 EUR\n'
    feed = feed_file(tmp_path, f"id,title,description,image_link,price\n{rows}")
    assert products_of(feed) == ["p2", "p3"]
    assert skipped_rows(feed) == [(2, MALFORMED)]
