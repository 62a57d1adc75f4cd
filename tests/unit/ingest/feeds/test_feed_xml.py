"""XML feeds: RSS and Atom as Google and Meta take them, plain lists, and XML that attacks."""

from pathlib import Path

import pytest

from sightline_server.errors import SightlineError
from sightline_server.ingest.feed_rows import ProblemKind
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.reader import count_rows
from tests.support.feeds import feed_file, problems_of, products_of, rows_of, skipped_rows

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>
<title>Shop</title><link>https://shop.example</link><description>d</description>
{items}
</channel></rss>
"""
ITEM = """<item><g:id>x1</g:id><title><![CDATA[Cup & saucer]]></title><link>https://shop.example/x1</link>
<g:image_link>a.jpg</g:image_link><g:additional_image_link>b.jpg</g:additional_image_link>
<g:additional_image_link>https://cdn.example/w_1,h_2/c.jpg</g:additional_image_link>
<g:price>12,50 EUR</g:price><g:availability>in stock</g:availability><g:product_type>A &gt; B</g:product_type>
<g:shipping><g:country>DE</g:country><g:price>3.90 EUR</g:price></g:shipping>
<g:shipping><g:country>AT</g:country><g:price>5.90 EUR</g:price></g:shipping></item>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>Shop</title><id>tag:shop.example</id>
<entry><id>tag:shop.example,x1</id><g:id>x1</g:id><title>Cup &amp; saucer</title><link rel="alternate"
 href="https://shop.example/x1"/><g:image_link>a.jpg</g:image_link><g:price>12.50 EUR</g:price></entry>
</feed>"""
PLAIN = """<products><product id="x1"><name>Cup &amp; saucer</name><url>https://shop.example/x1</url>
<imageLink>a.jpg</imageLink><price>12.50</price><currency>EUR</currency></product></products>"""


def rss(*items: str) -> str:
    return RSS.replace("{items}", "\n".join(items))


def item(product_id: str, rest: str = "") -> str:
    return f"<item><g:id>{product_id}</g:id><g:image_link>a.jpg</g:image_link>{rest}</item>"


@pytest.mark.parametrize("text", [rss(ITEM), ATOM, PLAIN, rss(ITEM).replace("g:", "")])
def test_feeds_of_every_shape_give_the_same_product(tmp_path: Path, text: str) -> None:
    [row] = rows_of(feed_file(tmp_path, text, "feed.xml"))
    product = row.product
    assert (product.id, product.title, product.price) == ("x1", "Cup & saucer", "12.50 EUR")
    assert product.link == "https://shop.example/x1"
    assert row.images[0] == "a.jpg"


def test_repeated_and_nested_elements_are_kept(tmp_path: Path) -> None:
    feed = feed_file(tmp_path, rss(ITEM), "feed.xml")
    [row] = rows_of(feed)
    assert row.images == ("a.jpg", "b.jpg", "https://cdn.example/w_1,h_2/c.jpg")
    assert (row.product.category, row.product.availability) == ("A > B", "in_stock")
    assert row.product.attributes["shipping"] == '{"country": "DE", "price": "3.90 EUR"}'
    assert count_rows(feed) == 1


def test_googles_elements_count_before_plain_ones(tmp_path: Path) -> None:
    both = item("x1", "<title>Page</title><g:title>Cup</g:title><id>7</id>")
    assert rows_of(feed_file(tmp_path, rss(both), "feed.xml"))[0].product.title == "Cup"


def test_further_main_images_are_additional_ones(tmp_path: Path) -> None:
    text = rss(item("x1", "<g:image_link>b.jpg</g:image_link><g:image_link>c.jpg</g:image_link>"))
    assert rows_of(feed_file(tmp_path, text, "feed.xml"))[0].images == ("a.jpg", "b.jpg", "c.jpg")


def test_names_of_price_comparison_sites_are_known(tmp_path: Path) -> None:
    text = """<SHOP><SHOPITEM><ITEM_ID>x1</ITEM_ID><PRODUCTNAME>Cup</PRODUCTNAME><IMGURL>https://c/a.jpg</IMGURL>
    <IMGURL_ALTERNATIVE>https://c/b.jpg</IMGURL_ALTERNATIVE><PRICE_VAT>1 299,00</PRICE_VAT></SHOPITEM></SHOP>"""
    [row] = rows_of(feed_file(tmp_path, text, "feed.xml"), FeedOptions(currency="CZK"))
    assert (row.product.id, row.product.title, row.product.price) == ("x1", "Cup", "1299.00 CZK")
    assert row.images == ("https://c/a.jpg", "https://c/b.jpg")


def test_two_items_that_ran_into_one_are_a_problem(tmp_path: Path) -> None:
    merged = item("x1", "</item><item>".join(["<title>A</title>", "<g:id>x2</g:id><title>B</title>"]))
    text = rss(item("x0"), merged.replace("</item><item>", "", 1), item("x3"))
    feed = feed_file(tmp_path, text, "feed.xml")
    assert products_of(feed) == ["x0", "x3"]
    assert skipped_rows(feed) == [(2, ProblemKind.MALFORMED_ROW)]


def test_rows_are_items_and_lines_are_named(tmp_path: Path) -> None:
    [problem] = problems_of(feed_file(tmp_path, rss(item("x1"), item("")), "feed.xml"))
    assert str(problem) == "row 2, line 5: there is no id"


@pytest.mark.parametrize(
    ("declared", "encoding", "stated"),
    [
        ("UTF-8", "utf-8", ""),
        ("UTF-16", "utf-16", ""),
        ("windows-1252", "cp1252", ""),
        ("ISO-8859-15", "iso-8859-15", ""),
        ("UTF-8", "cp1252", "cp1252"),
    ],
)
def test_encodings_by_declaration_mark_and_option(tmp_path: Path, declared: str, encoding: str, stated: str) -> None:
    text = rss(item("x1", "<title>Tüte 5 €</title>")).replace('"UTF-8"', f'"{declared}"')
    feed = feed_file(tmp_path, text.encode(encoding), "feed.xml")
    assert rows_of(feed, FeedOptions(encoding=stated))[0].product.title == "Tüte 5 €"


@pytest.mark.parametrize("bad", [b"\xff", b"\x00", b"\x0b", b"\xed\xa0\x80", b"\xc3"])
def test_a_bad_byte_costs_its_item(tmp_path: Path, bad: bytes) -> None:
    text = rss(item("x1"), item("x2", "<title>BAD</title>"), item("x3")).encode().replace(b"BAD", bad)
    feed = feed_file(tmp_path, text, "feed.xml")
    assert products_of(feed) == ["x1", "x3"]
    assert skipped_rows(feed) == [(2, ProblemKind.MALFORMED_ROW)]


def test_an_item_that_is_too_long_costs_one_row(tmp_path: Path) -> None:
    text = rss(item("x1"), item("x2", f"<title>{'T' * 3_000_000}</title>"), item("x3"))
    feed = feed_file(tmp_path, text, "feed.xml")
    assert products_of(feed) == ["x1", "x3"]


ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 100}">' for n in range(10))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"<!DOCTYPE rss [{ENTITIES}]>" + item("&e9;"), "has a DOCTYPE"),
        ('<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item></rss>', "a DOCTYPE"),
        ('<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/x.dtd"><rss/>', "has a DOCTYPE"),
        ("<!DOCTYPE html><html><body>Log in</body></html>", "is an HTML page"),
        ("<html><body>Log in</body></html>", "is an HTML page"),
        ("<rss><channel><title>x</title></channel></rss>", "has no <item> or <entry> below its element <rss>"),
        (rss(ITEM)[:-20], "is not well-formed XML at line"),
        (rss(ITEM, item("x2")).replace("</item>", "", 1), "is not well-formed XML at line"),
        (rss(item("x1", "<title>A & B</title>")), "is not well-formed XML at line"),
        (rss(item("x1", "<a>" * 100 + "</a>" * 100)), "nests elements deeper than"),
        (rss(item("x1", f'<a b="{"x" * 9_000_000}"/>')), "a tag or a comment longer than"),
    ],
)
def test_xml_that_is_refused_as_a_whole(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SightlineError, match=words) as caught:
        products_of(feed_file(tmp_path, text, "feed.xml"))
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "images",
    [
        "<images><image>b.jpg</image><image>c.jpg</image></images>",
        "<images><image><url>b.jpg</url></image><image><url>c.jpg</url></image></images>",
        '<images><image url="b.jpg"/><image url="c.jpg"/></images>',
        "<images><picture>b.jpg</picture><picture>c.jpg</picture></images>",
    ],
)
@pytest.mark.parametrize("main", ["", "<image_link>a.jpg</image_link>"])
def test_images_within_an_element_are_all_taken(tmp_path: Path, main: str, images: str) -> None:
    text = f"<products><product><id>x1</id>{main}{images}</product></products>"
    [row] = rows_of(feed_file(tmp_path, text, "feed.xml"))
    assert row.images == (("a.jpg",) if main else ()) + ("b.jpg", "c.jpg")


def test_further_links_titles_and_gtins_cost_no_row(tmp_path: Path) -> None:
    link = '<link rel="self" href="https://shop.example/x1.atom"/><link rel="alternate"'
    [row] = rows_of(feed_file(tmp_path, ATOM.replace('<link rel="alternate"', link), "feed.xml"))
    assert row.product.link == "https://shop.example/x1"
    assert row.product.attributes["link_self"] == "https://shop.example/x1.atom"
    media = '<media:title xmlns:media="http://search.yahoo.com/mrss/">Photo</media:title>'
    both = item("x1", f"<title>Cup</title>{media}<g:gtin>1</g:gtin><g:gtin>2</g:gtin>")
    [row] = rows_of(feed_file(tmp_path, rss(both), "feed.xml"))
    assert (row.product.title, row.product.gtin) == ("Cup", "1")


@pytest.mark.parametrize("above", ["\n", " \r\n\n", "\ufeff\n", "\ufeff\ufeff"])
def test_blanks_above_the_declaration_are_no_part_of_the_feed(tmp_path: Path, above: str) -> None:
    feed = feed_file(tmp_path, above + rss(item("x1"), item("")), "feed.xml")
    assert products_of(feed) == ["x1"]
    assert [problem.line for problem in problems_of(feed)] == [5 + above.count("\n")]


def test_a_declaration_of_utf_16_in_a_utf_8_document_is_not_believed(tmp_path: Path) -> None:
    text = rss(item("x1", "<title>Tüte</title>")).replace('"UTF-8"', '"utf-16"')
    assert rows_of(feed_file(tmp_path, text, "feed.xml"))[0].product.title == "Tüte"
