"""Columns by the names of shops and of shop systems."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline_server.errors import SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, ProblemKind
from sightline_server.ingest.feeds.columns import canonical_names, column_name
from sightline_server.ingest.feeds.links import split_links
from sightline_server.ingest.feeds.options import FeedLimits, FeedOptions
from sightline_server.ingest.feeds.reader import count_rows
from tests.support.feeds import feed_file, problems_of, products_of, rows_of, skipped_rows


@pytest.mark.parametrize(
    "raw",
    [
        *("image_link", "Image Link", " IMAGE-LINK ", "g:image_link", "g:Image  link", "imageLink", "ImageLink"),
        *("IMAGE_LINK", "c:image_link", "\ufeffimage_link"),
    ],
)
def test_column_names_as_shops_write_them(raw: str) -> None:
    assert column_name(raw) == "image_link"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["offer_id", "image_url", "name"], ["id", "image_link", "title"]),
        (["id", "offer_id"], ["google_id", "id"]),
        (["sku", "product_id", "image"], ["sku", "id", "image_link"]),
        (["id", "sku", "image_link", "image"], ["id", "sku", "image_link", "image"]),
        (
            ["id", "image[0].url", "image[1].url", "video[0].url"],
            ["id", "image_link", "additional_image_link", "video[0].url"],
        ),
        (["id", "image_1", "image_2"], ["id", "image_link", "additional_image_link"]),
        (
            ["id", "image_link", "image_1", "additional_image_link_2"],
            ["id", "image_link", *["additional_image_link"] * 2],
        ),
        (["id", "image_link", "images"], ["id", "image_link", "additional_image_link"]),
        (["id", "image_link", "name", "title"], ["id", "image_link", "name", "title"]),
    ],
)
def test_other_names_count_where_the_proper_column_is_missing(names: list[str], expected: list[str]) -> None:
    assert canonical_names(names) == expected


@pytest.mark.parametrize(
    ("cell", "links"),
    [
        ("a.jpg, b.jpg,,c.jpg,", ["a.jpg", "b.jpg", "c.jpg"]),
        ("http://c/w_4,h_4/a.jpg,http://c/w_4,h_4/b.jpg", ["http://c/w_4,h_4/a.jpg", "http://c/w_4,h_4/b.jpg"]),
        ("https://c/a,b,//c/d,e", ["https://c/a,b", "//c/d,e"]),
        ("https://c/a?x=1,2, https://c/b", ["https://c/a?x=1,2", "https://c/b"]),
        ("https://c/a|https://c/b;https://c/d\nhttps://c/e", [f"https://c/{name}" for name in "abde"]),
        ("b.jpg,http://c/d.jpg", ["b.jpg", "http://c/d.jpg"]),
        ("chair, red.jpg,chair, blue.png", ["chair, red.jpg", "chair, blue.png"]),
        ("one,two", ["one", "two"]),
        ("sub folder/ä (1).JPG", ["sub folder/ä (1).JPG"]),
        ("https://c/image/fetch/w_1,h_2/http://other/a.jpg", ["https://c/image/fetch/w_1,h_2/http://other/a.jpg"]),
        ("", []),
        (" , ", []),
    ],
)
def test_commas_within_links_stay(cell: str, links: list[str]) -> None:
    assert split_links(cell) == links


SHOPIFY = """Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Variant SKU,Variant Price,\
Variant Barcode,Image Src,Image Position,Variant Image,Status
oak-chair,Oak chair,"<p>Sits
well</p>",Acme,Chairs,a,true,Size,S,C-S,15.00,123,https://cdn.example/1.jpg?v=1,1,,active
oak-chair,,,,,,,,M,C-M,16.00,124,https://cdn.example/2.jpg?v=1,2,https://cdn.example/m.jpg,
oak-chair,,,,,,,,,,,,https://cdn.example/3.jpg,3,,
lamp,Lamp,,Acme,Lamps,,true,Title,Default Title,L,20.00,,https://cdn.example/4.jpg,1,,active
rug,Rug,,Acme,Rugs,,true,Title,Default Title,R,30.00,,,,,active
"""
SHOPIFY_NEW = """Title,URL handle,Description,Vendor,Type,SKU,Barcode,Option1 name,Option1 value,Price,\
Product image URL,Image position,Variant image URL
Oak chair,oak-chair,Sits well,Acme,Chairs,C-S,123,Size,S,15.00,https://cdn.example/1.jpg?v=1,1,
,oak-chair,,,,C-M,124,,M,16.00,https://cdn.example/2.jpg?v=1,2,https://cdn.example/m.jpg
,oak-chair,,,,,,,,,https://cdn.example/3.jpg,3,
Lamp,lamp,,Acme,Lamps,L,,,,20.00,https://cdn.example/4.jpg,1,
Rug,rug,,Acme,Rugs,R,,,,30.00,,,
"""


@pytest.mark.parametrize("text", [SHOPIFY, SHOPIFY_NEW])
def test_rows_of_a_shopify_handle_are_one_product(tmp_path: Path, text: str) -> None:
    feed = feed_file(tmp_path, text)
    chair, lamp = (row for row in read_feed(feed, FeedOptions(currency="EUR")) if isinstance(row, FeedRow))
    assert (chair.row, chair.product.id, chair.product.title, chair.product.brand) == (
        2,
        "oak-chair",
        "Oak chair",
        "Acme",
    )
    assert (chair.product.category, chair.product.price, chair.product.gtin) == ("Chairs", "15.00 EUR", "123")
    numbers = ("1.jpg?v=1", "2.jpg?v=1", "3.jpg", "m.jpg")
    assert chair.images == tuple(f"https://cdn.example/{number}" for number in numbers)
    assert (lamp.row, lamp.product.id) == (5, "lamp")
    assert skipped_rows(feed) == [(6, ProblemKind.NO_IMAGE)]
    assert count_rows(feed) == 3


WIX = """handleId,fieldType,name,description,productImageUrl,collection,sku,ribbon,price,visible
p_1,Product,Oak chair,Sits well,ab_12~mv2.jpg;https://cdn.example/2.jpg,Chairs,C,,15.00,true
p_1,Variant,,,,,C-S,,,
p_2,Product,Lamp,,cd_34~mv2.png,Lamps,L,,20.00,true
"""
WIX_NEW = """handle,fieldType,name,visible,plainDescription,media,price,sku
p_1,PRODUCT,Oak chair,TRUE,Sits well,https://static.wixstatic.com/media/ab_12~mv2.jpg,15.00,C
p_1,MEDIA,,,,https://cdn.example/2.jpg,,
p_1,VARIANT,,,,,,C-S
p_2,PRODUCT,Lamp,TRUE,,cd_34~mv2.png,20.00,L
"""


@pytest.mark.parametrize("text", [WIX, WIX_NEW])
def test_rows_of_a_wix_handle_are_one_product(tmp_path: Path, text: str) -> None:
    chair, lamp = rows_of(feed_file(tmp_path, text), FeedOptions(currency="EUR"))
    assert (chair.product.id, chair.product.title, chair.product.price) == ("p_1", "Oak chair", "15.00 EUR")
    assert chair.product.attributes["description"] == "Sits well" or chair.product.attributes["sku"] == "C"
    assert chair.images == ("https://static.wixstatic.com/media/ab_12~mv2.jpg", "https://cdn.example/2.jpg")
    assert lamp.images == ("https://static.wixstatic.com/media/cd_34~mv2.png",)


def test_a_woocommerce_export_is_mapped(tmp_path: Path) -> None:
    header = 'ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Description,In stock?,Regular price,Categories,Images,Parent'
    lines = [
        '7,simple,C-1,123,Oak chair,Well,1,"15,00",Chairs,"https://shop.example/1.jpg, https://shop.example/2,b.jpg",',
        "8,variation,,,Lamp,,backorder,20,Lamps,https://shop.example/3.jpg,C-1",
        "9,simple,R,,Rug,,0,30,Rugs,https://shop.example/4.jpg,",
    ]
    rows = rows_of(feed_file(tmp_path, "\n".join([header, *lines])), FeedOptions(currency="EUR"))
    assert [row.product.id for row in rows] == ["C-1", "8", "R"]
    assert [row.product.availability for row in rows] == ["in_stock", "backorder", "out_of_stock"]
    assert [row.product.price for row in rows] == ["15.00 EUR", "20 EUR", "30 EUR"]
    assert rows[0].images == ("https://shop.example/1.jpg", "https://shop.example/2,b.jpg")
    assert (rows[0].product.gtin, rows[1].product.item_group_id) == ("123", "C-1")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Handle,Title,Option1 Name,SKU,Location,Available", "a Shopify inventory export; export the products"),
        ("Name,Email,Lineitem name,Lineitem price", "a Shopify orders export"),
        ("handleId,fieldType,name,price", "a Wix export without images"),
        ("sku,attribute_set_code,name,price", "a Magento export"),
    ],
)
def test_an_export_without_images_is_named(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(SightlineError, match=f"It looks like {words}"):
        products_of(feed_file(tmp_path, header + "\n"))


def parquet(folder: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, folder / "feed.parquet", **options)
    return folder / "feed.parquet"


def test_parquet_of_all_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "ID": ["p1", "p2"],
            "imageLink": ["a.jpg", "b.jpg"],
            "additional_image_link": [["c.jpg"], None],
            "gtin": [4006381333931.0, None],
            "brand": pa.array(["Acme", "Acme"]).dictionary_encode(),
            "title": pa.array([b"T\xc3\xbcte", None], pa.binary()),
            "price": pa.array(["15.00 EUR", None], pa.large_string()),
        }
    )
    feed = parquet(tmp_path, table)
    rows = rows_of(feed)
    assert [(row.row, row.images, row.product.gtin) for row in rows] == [
        (1, ("a.jpg", "c.jpg"), "4006381333931"),
        (2, ("b.jpg",), ""),
    ]
    assert (rows[0].product.title, rows[0].product.price, rows[1].product.brand) == ("Tüte", "15.00 EUR", "Acme")
    assert count_rows(feed) == 2


def test_parquet_rows_that_cannot_be_read_cost_themselves(tmp_path: Path) -> None:
    bad = pa.array([b"x", b"\xff\xfe", b"y", b"z"], pa.binary())
    text = pa.StringArray.from_buffers(4, bad.buffers()[1], bad.buffers()[2])
    table = pa.table(
        {"id": ["p1", "p2", "p3", "p4"], "image_link": ["a.jpg"] * 4, "title": text, "n": [1.0, 2, 3, float("inf")]}
    )
    feed = parquet(tmp_path, table)
    assert products_of(feed) == ["p1", "p3"]
    assert skipped_rows(feed) == [(2, ProblemKind.MALFORMED_ROW), (4, ProblemKind.MALFORMED_ROW)]


def test_a_text_that_a_small_parquet_repeats_is_unpacked_once(tmp_path: Path) -> None:
    rows = 1024
    title = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["T" * 8_000_000]))
    table = pa.table({"id": [str(n) for n in range(rows)], "image_link": ["a.jpg"] * rows, "title": title})
    feed = parquet(tmp_path, table, compression="zstd")
    assert feed.stat().st_size < 20_000
    before = pa.total_allocated_bytes()
    peak = 0
    for problem in read_feed(feed):
        assert not isinstance(problem, FeedRow)
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 100_000_000


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"id": ["p1"] * 100_000, "image_link": ["a.jpg"] * 100_000}), "declares 100000 rows in a file of"),
        (pa.table({"id": ["p1"], "image_link": ["x" * 3_000_000]}), "that is too much to be a feed"),
        (pa.table({"id": ["p1"]}), "no column image_link"),
    ],
)
def test_parquet_that_is_refused_as_a_whole(tmp_path: Path, table: pa.Table, words: str) -> None:
    options = FeedOptions(limits=FeedLimits(free_unpacked_bytes=1 << 20))
    with pytest.raises(SightlineError, match=words):
        products_of(parquet(tmp_path, table, compression="zstd"), options)


@pytest.mark.parametrize("content", [b"PAR1 no", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SightlineError, match="cannot be read"):
        problems_of(feed_file(tmp_path, content, "feed.parquet"))


def test_a_shopify_product_has_values_of_one_variant_only(tmp_path: Path) -> None:
    text = """Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Barcode,Image Src
tee,Tee,Size,S,,10.00,,a.jpg
tee,,,M,sku-m,12.00,4006381333931,b.jpg
"""
    [row] = rows_of(feed_file(tmp_path, text), FeedOptions(currency="EUR"))
    assert (row.product.price, row.product.gtin, row.images) == ("10.00 EUR", "", ("a.jpg", "b.jpg"))
    assert row.product.attributes == {"option1_name": "Size", "option1_value": "S"}


@pytest.mark.parametrize(
    "header",
    [
        *("sku_id,image_link", "SKU ID,Image URL", "id,images", "id,Image URLs", "id,imageURLs", "id,image_links"),
        *("id,cover_media_url", "id,image_urls"),
    ],
)
def test_columns_of_other_catalogs_are_known(tmp_path: Path, header: str) -> None:
    [row] = rows_of(feed_file(tmp_path, f'{header}\nx1,"https://c/a.jpg,https://c/b.jpg"\n'))
    assert (row.product.id, row.images) == ("x1", ("https://c/a.jpg", "https://c/b.jpg"))


def test_a_column_of_all_images_goes_behind_that_of_the_main_one(tmp_path: Path) -> None:
    [row] = rows_of(feed_file(tmp_path, "id,images,image\nx1,b.jpg,a.jpg\n"))
    assert row.images == ("a.jpg", "b.jpg")
    [row] = rows_of(feed_file(tmp_path, "id,images,additional_images\nx1,a.jpg,b.jpg\n"))
    assert row.images == ("a.jpg", "b.jpg")
