"""Products written as a feed and read again, in every format; and what surrounds the writing of the file."""

import dataclasses
import gzip
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.catalog.digest import SumDigest
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.schema import CatalogFacts, CatalogRow, Price, to_table
from sightline_server.index.stored_rows import StoredRows, stored_rows
from sightline_server.ingest.embedded_rows import read_embedded
from sightline_server.ingest.exports.export import ExportOptions, export_catalog
from sightline_server.ingest.exports.formats import ExportFormat, chosen_format
from sightline_server.ingest.feed import parse_record, read_feed
from sightline_server.ingest.feed_rows import FeedRow, ParsedRow, Problem, ProblemKind
from sightline_server.ingest.feeds.exact import EXACT, ExactProduct, exact_cell, mark_of
from sightline_server.ingest.feeds.options import FeedOptions, PriceFormat
from sightline_server.ingest.feeds.records import Record
from sightline_server.ingest.feeds.source import opened_feed
from tests.support.catalogs import DIMENSION, SPEC, unit_vectors, write_catalog

FORMATS = list(ExportFormat)
SEPARATE = ("link", "brand", "gtin", "item_group_id", "availability")


def product_row(product: Product, images: tuple[str, ...], price: Price | None = None) -> CatalogRow:
    return CatalogRow(product, price, images, unit_vectors(len(images), len(product.id)))


def plain_row(number: int = 1) -> CatalogRow:
    """A product as most feeds have it."""
    link = f"https://shop.example/p{number}.jpg"
    more = (f"https://shop.example/p{number},side.jpg?w=1,2", f"https://shop.example/p{number}-back.jpg")
    attributes = {"description": 'Oak, 5" "solid"; for two', "color": "dark blue", "size": "M"}
    product = Product(
        *(f"p{number}", "Chair, red", "Norrvik", "Home > Chairs", "1299.50 EUR", "in_stock"),
        *(f"https://shop.example/p{number}?a=1&b=2", link, "group 7", "04006381333931"),
        attributes=attributes,
    )
    return product_row(product, (link, *more), Price(Decimal("1299.50"), "EUR"))


ODD: dict[str, dict[str, Any]] = {
    "blanks": {"title": "  two blanks at both ends  "},
    "line-breaks": {"title": "a\nb\r\nc\rd", "attributes": {"description": 'first\np1,title,"x.jpg\n"'}},
    "tabs-and-quotes": {"title": '"quoted"\tand\t"more', "brand": '"', "gtin": '""'},
    "controls": {"title": "bell \x07, zero \x00, delete \x7f", "brand": "\ufdd0\ufffe\uffff"},
    "other-line-ends": {"title": "next\x85line\u2028separator\x0bvertical\x0cfeed"},
    "markup": {"title": "<b>&amp;</b> ]]> <!-- -->", "brand": "&lt;"},
    "formulas": {"title": "=cmd|' /C calc'!A0", "brand": "@SUM(A1)", "gtin": "+1", "item_group_id": "-2+3"},
    "numbers-as-texts": {"title": "1e5", "gtin": "00012", "brand": "NaN", "item_group_id": "null"},
    "availability-elsewhere": {"availability": "", "attributes": {"availability": "by post"}},
    "availability-unknown": {"availability": "maybe tomorrow"},
    "columns-as-attributes": {"attributes": {"title": "other", "id": "9", "image_link": "x.jpg", EXACT: "{}"}},
    "aliases": {"attributes": {"name": "n", "offer_id": "7", "sku": "s", "image_2": "b.jpg", "image[1].url": "c.jpg"}},
    "names-in-other-forms": {"attributes": {"Color Code": "1", "größe": "2", "2nd": "3", "a b": "4", "": "5"}},
    "names-that-collapse": {"attributes": {"a__b": "1", "a_b": "2", "A-B": "3", "g:a_b": "4"}},
    "shop-systems": {"attributes": {"handle": "h", "image_src": "i", "images": "j", "in_stock?": "1", "sku": "2"}},
    "delimiters-in-names": {"attributes": {"a,b": "1", "c;d": "2", 'e"f': "3", "g\th": "4", "i\nj": "5"}},
    "empty-attribute": {"attributes": {"color": "", "size": "M"}},
    "order-of-attributes": {"attributes": {"z": "1", "a": "2", "availability": "soon", "m": "3"}},
    "embeddings-as-attribute": {"attributes": {"embeddings": "[[1]]", "embedder": "x"}},
    "a-header-in-a-text": {"title": "x;id;image_link;title;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;"},
    "no-title-but-a-name": {"title": "", "brand": "", "attributes": {"name": "a name", "vendor": "v", "ean": "1"}},
    "text-of-64-kib": {"title": "x" * 20_000, "attributes": {"description": "y" * 40_000}},
    "right-to-left": {"title": "\u202e\u05e9\u05dc\u05d5\u05dd\u200f \U0001f6cb e\u0301"},
    "image-elsewhere": {"image_link": "https://other.example/main.jpg"},
    "no-main-image": {"image_link": ""},
}


def odd_row(name: str) -> CatalogRow:
    texts = {"title": "t", "image_link": "https://shop.example/1.jpg", **ODD[name]}
    images = ("https://shop.example/1.jpg", "https://shop.example/2.jpg")
    return product_row(Product(f"p-{name}", **texts), images)


ODD_ROWS = {
    **{name: odd_row(name) for name in ODD},
    "id-with-blanks": product_row(Product(" p 1 ", "t", image_link="a.jpg"), ("a.jpg",)),
    "id-as-comment": product_row(Product("#1", "t", image_link="a.jpg"), ("a.jpg",)),
    "file-names-with-commas": product_row(
        Product("p1", image_link="chair, red.jpg"), ("chair, red.jpg", "a,b.jpg", " c.jpg", "d", "e.png, f.png")
    ),
    "links-with-links": product_row(
        Product("p1", image_link="https://cdn.example/?u=https://a.example/1.jpg"),
        ("https://cdn.example/?u=https://a.example/1.jpg", "//cdn.example/2.jpg, https://b.example/3.jpg"),
    ),
    "same-image-twice": product_row(Product("p1", image_link="a.jpg"), ("a.jpg", "b.jpg", "a.jpg")),
    "twenty-images": product_row(Product("p1", image_link="0.jpg"), tuple(f"{n}.jpg" for n in range(20))),
    "three-decimals": product_row(
        Product("p1", price="1.234 EUR", image_link="a.jpg"), ("a.jpg",), Price(Decimal("1.234"), "EUR")
    ),
    "price-text-differs": product_row(
        Product("p1", price="from 5 EUR", image_link="a.jpg"), ("a.jpg",), Price(Decimal("5"), "EUR")
    ),
    "price-without-amount": product_row(Product("p1", price="12.00 EUR", image_link="a.jpg"), ("a.jpg",)),
    "amount-without-price": product_row(Product("p1", image_link="a.jpg"), ("a.jpg",), Price(Decimal("5.5"), "USD")),
    "large-price": product_row(
        Product("p1", price="99999999999999.9999 JPY", image_link="a.jpg"),
        ("a.jpg",),
        Price(Decimal("99999999999999.9999"), "JPY"),
    ),
}


def exported(
    folder: Path, rows: Iterable[CatalogRow], form: ExportFormat, *, embeddings: bool = False, suffix: str = ""
) -> Path:
    """The feed of a catalog of `rows`."""
    target = folder / f"feed-{len(list(folder.iterdir()))}.{form.value}{suffix}"
    export_catalog(in_memory(list(rows)), ExportOptions(str(target), form, embeddings=embeddings))
    return target


def products_by_id(rows: Iterable[CatalogRow | FeedRow]) -> dict[str, tuple[Product, Price | None, tuple[str, ...]]]:
    return {row.product.id: (row.product, row.price, row.images) for row in rows}


def read_back(feed: Path, options: FeedOptions | None = None) -> list[FeedRow]:
    with opened_feed(feed, options) as source:
        rows = list(read_feed(source, options))
    assert not [row for row in rows if isinstance(row, Problem) and row.skipped]
    return [row for row in rows if isinstance(row, FeedRow)]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_products_come_back_from_every_format(tmp_path: Path, form: ExportFormat, suffix: str) -> None:
    rows = [plain_row(number) for number in range(5)]
    feed = exported(tmp_path, rows, form, suffix=suffix)
    assert products_by_id(read_back(feed)) == products_by_id(rows)


@pytest.mark.parametrize("form", FORMATS)
def test_odd_products_come_back_from_every_format(tmp_path: Path, form: ExportFormat) -> None:
    rows = [plain_row(), *ODD_ROWS.values()]
    rows = [
        CatalogRow(
            Product(**{**fields(row.product), "id": f"{row.product.id}/{n}"}), row.price, row.images, row.embeddings
        )
        for n, row in enumerate(rows)
    ]
    feed = exported(tmp_path, rows, form)
    assert products_by_id(read_back(feed)) == products_by_id(rows)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", sorted(ODD_ROWS))
def test_odd_product_alone_comes_back(tmp_path: Path, form: ExportFormat, name: str) -> None:
    row = ODD_ROWS[name]
    assert products_by_id(read_back(exported(tmp_path, [row], form))) == products_by_id([row])


def fields(product: Product) -> dict[str, Any]:
    return {each.name: getattr(product, each.name) for each in dataclasses.fields(product)}


# What Arrow can hold: any text without surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PIECES = st.sampled_from(
    ['"', '""', ",", ";", "\t", "|", "\n", "\r", " ", "=", "a", "https://x.example/1.jpg", ".jpg", "id", "<", "&", "é"]
)
ROUGH = st.one_of(TEXTS, st.lists(PIECES, max_size=8).map("".join))
NAMES = st.one_of(ROUGH, st.sampled_from(["color", "size", "title", "name", "availability", "image_2", "Größe", "sku"]))
AMOUNTS = st.decimals(0, Decimal("99999999999999"), places=4, allow_nan=False, allow_infinity=False)
PRICES = st.one_of(st.none(), st.builds(Price, AMOUNTS, st.sampled_from(["EUR", "USD", "JPY", "KWD"])))


@st.composite
def catalog_rows(draw: st.DrawFn) -> list[CatalogRow]:
    """Products with any texts."""
    rows = []
    for product_id in draw(st.lists(ROUGH.filter(bool), min_size=1, max_size=4, unique=True)):
        price = draw(PRICES)
        images = tuple(draw(st.lists(ROUGH.filter(bool), min_size=1, max_size=3)))
        texts = {name: draw(ROUGH) for name in ("title", *SEPARATE)}
        price_text = draw(st.one_of(ROUGH, st.just(str(price) if price else "")))
        product = Product(
            product_id,
            category=draw(ROUGH),
            price=price_text,
            image_link=draw(st.one_of(st.just(images[0]), ROUGH)),
            attributes=draw(st.dictionaries(NAMES, ROUGH, max_size=4)),
            **texts,
        )
        rows.append(product_row(product, images, price))
    return rows


@pytest.mark.parametrize("form", FORMATS)
def test_any_product_comes_back(tmp_path_factory: pytest.TempPathFactory, form: ExportFormat) -> None:
    folder = tmp_path_factory.mktemp("any")

    @settings(max_examples=40, deadline=None, database=None)
    @given(catalog_rows())
    def check(rows: list[CatalogRow]) -> None:
        stored = in_memory(rows)
        target = folder / f"feed.{form.value}"
        export_catalog(stored, ExportOptions(str(target), form, replace=True))
        assert products_by_id(read_back(target)) == products_by_id(rows)

    check()


def in_memory(rows: list[CatalogRow]) -> StoredRows:
    """Rows as a catalog gives them, without its files."""
    batches = to_table(rows, DIMENSION).to_batches()
    digest = SumDigest()
    for batch in batches:
        digest.update(batch)
    facts = CatalogFacts(SPEC, len(rows), 0, 0, digest.hexdigest(), "")
    return StoredRows(
        Path("memory"),
        "1-x",
        facts,
        lambda columns: iter(batches if columns is None else [batch.select(list(columns)) for batch in batches]),
        SumDigest,
    )


class Holder:
    """The catalog that embedded rows are read for."""

    embedder = SPEC
    views = 1

    def fault(self, row: CatalogRow) -> str:
        return ""


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.PARQUET])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_embeddings_come_back_to_the_last_bit(tmp_path: Path, form: ExportFormat, suffix: str) -> None:
    rows = [plain_row(number) for number in range(30)]
    rows += [odd_row(name) for name in ODD]
    feed = exported(tmp_path, rows, form, embeddings=True, suffix=suffix)
    with opened_feed(feed) as source:
        found = list(read_embedded(source, Holder(), FeedOptions()))
    assert not [each for each in found if isinstance(each, Problem) and each.skipped]
    by_id = {each.product.id: each for each in found if isinstance(each, CatalogRow)}
    assert products_by_id(by_id.values()) == products_by_id(rows)
    for row in rows:
        back = by_id[row.product.id]
        assert list(back.product.attributes) == list(row.product.attributes)
        assert np.array_equal(back.embeddings.astype(np.float16), row.embeddings.astype(np.float16))


def test_every_float16_survives_the_digits_of_json() -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = values[np.isfinite(values)]
    back = np.array([float(str(value)) for value in finite], np.float64).astype(np.float32).astype(np.float16)
    assert np.array_equal(back.view(np.uint16), finite.view(np.uint16))


def test_ordinary_products_need_no_exact_column(tmp_path: Path) -> None:
    feed = exported(tmp_path, [plain_row()], ExportFormat.CSV)
    header, line = feed.read_text(encoding="utf-8").splitlines()
    assert header.endswith(f",description,color,size,{EXACT}")
    assert line.endswith(",dark blue,M,")


@pytest.mark.parametrize("form", FORMATS)
def test_exact_product_does_not_depend_on_the_readers_options(tmp_path: Path, form: ExportFormat) -> None:
    rows = [ODD_ROWS["three-decimals"]]
    options = FeedOptions(price_format=PriceFormat.COMMA, currency="USD")
    assert products_by_id(read_back(exported(tmp_path, rows, form), options)) == products_by_id(rows)


def test_edited_row_counts_and_its_exact_product_does_not(tmp_path: Path) -> None:
    feed = exported(tmp_path, [ODD_ROWS["blanks"]], ExportFormat.CSV)
    feed.write_text(feed.read_text(encoding="utf-8").replace("two blanks at both ends", "edited", 1), encoding="utf-8")
    text = feed.read_text(encoding="utf-8")
    assert "two blanks" in text  # in the exact product
    with opened_feed(feed) as source:
        row, warning = read_feed(source)
    assert isinstance(row, FeedRow) and row.product.title == "edited"
    assert isinstance(warning, Problem) and not warning.skipped and "edited after its export" in warning.text


@pytest.mark.parametrize(
    "cell",
    [
        *("x", "[]", "{}", '{"mark": 1}', '{"mark": "%s"}', '{"mark": "%s", "images": "a.jpg", "id": "1"}'),
        *('{"mark": "%s", "images": ["a.jpg"]}', '{"mark": "%s", "images": ["a.jpg"], "id": ""}'),
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "amount": "-1", "currency": "EUR"}',
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "amount": "1"}',
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "title": 5}',
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "attributes": {"a": null}}',
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "title": "\\ud800"}',
        '{"mark": "%s", "images": ["a.jpg"], "id": "1", "unknown": "x"}',
        '{"mark": "%s", "images": ["", "a.jpg"], "id": "1"}',
    ],
)
def test_malformed_exact_product_is_left_out(tmp_path: Path, cell: str) -> None:
    texts = {"id": "1", "image_link": "a.jpg"}
    outcome = parse_record(Record(1, {**texts, EXACT: cell.replace("%s", mark_of(texts))}))
    assert isinstance(outcome, ParsedRow)
    assert outcome.row.product == Product("1", image_link="a.jpg")
    assert len(outcome.warnings) == 1


def test_exact_product_keeps_the_limits_of_a_row(tmp_path: Path) -> None:
    texts = {"id": "1", "image_link": "a.jpg"}
    large = ExactProduct(Product("1", "x" * 70_000), None, ("a.jpg",))
    outcome = parse_record(Record(1, {**texts, EXACT: exact_cell(large, texts)}))
    assert isinstance(outcome, Problem) and outcome.kind is ProblemKind.ROW_TOO_LARGE
    none = ExactProduct(Product("1"), None, ())
    outcome = parse_record(Record(1, {**texts, EXACT: exact_cell(none, texts)}))
    assert isinstance(outcome, Problem) and outcome.kind is ProblemKind.NO_IMAGE


def test_other_tools_read_xml_and_parquet(tmp_path: Path) -> None:
    row = plain_row()
    tree = ElementTree.parse(exported(tmp_path, [row], ExportFormat.XML))
    google = "{http://base.google.com/ns/1.0}"
    [item] = tree.iter("item")
    assert item.findtext(f"{google}title") == "Chair, red"
    assert [each.text for each in item.iter(f"{google}additional_image_link")] == list(row.images[1:])
    table = pq.read_table(exported(tmp_path, [row], ExportFormat.PARQUET, embeddings=True)).to_pylist()
    assert table[0]["additional_image_link"] == list(row.images[1:])
    assert np.array_equal(np.array(table[0]["embeddings"], np.float16), row.embeddings.astype(np.float16))


def test_rare_attributes_beyond_the_columns_are_kept_exactly(tmp_path: Path) -> None:
    rows = [
        product_row(Product(f"p{n}", image_link="a.jpg", attributes={f"a{n}_{k}": "x" for k in range(30)}), ("a.jpg",))
        for n in range(10)
    ]
    feed = exported(tmp_path, rows, ExportFormat.CSV)
    assert len(feed.read_text(encoding="utf-8").splitlines()[0].split(",")) == 11 + 200 + 1
    assert products_by_id(read_back(feed)) == products_by_id(rows)


def test_equal_catalogs_give_equal_bytes(tmp_path: Path) -> None:
    rows = [plain_row(number) for number in range(5)]
    first = exported(tmp_path, rows, ExportFormat.JSONL, suffix=".gz")
    second = exported(tmp_path, rows, ExportFormat.JSONL, suffix=".gz")
    assert first.read_bytes() == second.read_bytes()
    assert len(gzip.decompress(first.read_bytes()).splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("a.csv", "csv"), ("a.CSV.GZ", "csv"), ("a.tsv", "tsv"), ("a.ndjson", "jsonl"), ("a.b.rss", "xml")),
        ("a.parquet", "parquet"),
    ],
)
def test_format_is_told_by_the_name(name: str, expected: str) -> None:
    assert chosen_format(name, None, embeddings=False).value == expected


@pytest.mark.parametrize("name", ["-", "a", "a.json", "a.gz", "a.xlsx", ""])
def test_name_without_a_format_is_refused(name: str) -> None:
    with pytest.raises(SightlineError, match="does not say its format") as raised:
        chosen_format(name, None, embeddings=False)
    assert raised.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.xml"])
def test_embeddings_in_a_text_table_are_refused(name: str) -> None:
    with pytest.raises(SightlineError, match="cannot hold embeddings"):
        chosen_format(name, None, embeddings=True)


def failing(stored: StoredRows, spoil: Callable[[], None]) -> StoredRows:
    """`stored`, whose reading calls `spoil` behind its rows."""

    def read(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        yield from stored.read(columns)
        spoil()

    return replace(stored, read=read)


def test_damaged_catalog_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [plain_row()])
    stored = stored_rows(tmp_path / "shop")
    damaged = replace(stored, facts=replace(stored.facts, content_sha256="0" * 64))
    target = tmp_path / "feed.csv"
    target.write_text("old")
    with pytest.raises(SightlineError, match="its content is not what was written"):
        export_catalog(damaged, ExportOptions(str(target), ExportFormat.CSV, replace=True))
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.csv", "shop"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_export_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def spoil() -> None:
        raise error

    write_catalog(tmp_path / "shop", [plain_row()])
    stored = failing(stored_rows(tmp_path / "shop"), spoil)
    with pytest.raises((type(error), SightlineError)):
        export_catalog(stored, ExportOptions(str(tmp_path / "feed.jsonl.gz"), ExportFormat.JSONL))
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def write_other(target: Path) -> None:
    target.write_text("other")


def test_file_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "feed.csv"
    write_catalog(tmp_path / "shop", [plain_row()])
    stored = failing(stored_rows(tmp_path / "shop"), lambda: write_other(target))
    with pytest.raises(SightlineError, match="by another process meanwhile"):
        export_catalog(stored, ExportOptions(str(target), ExportFormat.XML))
    assert target.read_text() == "other"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.csv", "shop"]


@pytest.mark.parametrize("name", ["missing/feed.csv", "folder", "pipe", "there.csv"])
def test_unusable_target_is_refused(tmp_path: Path, name: str) -> None:
    write_catalog(tmp_path / "shop", [plain_row()])
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.csv").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SightlineError) as raised:
        export_catalog(stored_rows(tmp_path / "shop"), ExportOptions(str(tmp_path / name), ExportFormat.CSV))
    assert raised.value.kind is ErrorKind.CONFIGURATION
    assert (tmp_path / "there.csv").read_text() == "old"


def test_symbolic_link_keeps_its_place(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [plain_row()])
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    options = ExportOptions(str(tmp_path / "link.csv"), ExportFormat.CSV, replace=True)
    export_catalog(stored_rows(tmp_path / "shop"), options)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("id,title,")
