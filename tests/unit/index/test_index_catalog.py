"""The catalog on disk: what is written comes back, and what is not what was written is refused."""

import sqlite3
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import lance
import numpy as np
import pytest

from sightline_server.catalog import log as log_module
from sightline_server.catalog.log import Recorded
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import catalog as catalog_module
from sightline_server.index import writer
from sightline_server.index.catalog import open_catalog, read_facts
from sightline_server.index.dataset import DatasetWriter
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opened_catalog import assemble
from sightline_server.index.products import ProductTable
from sightline_server.index.schema import CatalogRow, Price
from sightline_server.index.writer import CatalogWriter
from tests.support.catalogs import BUILT, DIMENSION, SPEC, row, unit_vectors, write_catalog

FULL = Product(
    id="p1",
    title="Chaise longue à pieds",
    brand="Acme",
    category="Furniture > Chairs",
    price="15.00 USD",
    availability="in_stock",
    link="https://shop.example/p1",
    image_link="p1-0.jpg",
    item_group_id="g1",
    gtin="4006381333931",
    attributes={"color": "grün", "size": "L"},
)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    vectors = unit_vectors(4)
    rows = [
        CatalogRow(FULL, Price(Decimal("15.00"), "USD"), ("p1-0.jpg", "p1-1.jpg"), vectors[:2]),
        row("p0", vectors[2:3]),
        row("p2", vectors[3:]),
    ]
    write_catalog(tmp_path / "shop", rows)
    return tmp_path / "shop"


def test_what_is_written_comes_back(catalog: Path) -> None:
    opened = open_catalog(catalog, SPEC)
    table = ProductTable(opened.display)

    assert table.take([0, 1]) == [FULL, Product("p0")]
    assert opened.image_links.to_pylist() == ["p1-0.jpg", "p1-1.jpg", "p0-0.jpg", "p2-0.jpg"]
    assert opened.owners.tolist() == [0, 0, 1, 2]
    assert np.abs(opened.vectors.astype(np.float32) - unit_vectors(4)).max() < 1e-3
    assert table.id_order([2, 0, 1, 0]).tolist() == [3, 2, 1, 2]
    assert (opened.facts.products, opened.facts.vectors, opened.facts.max_images) == (3, 4, 2)
    assert opened.facts == read_facts(catalog)
    assert opened.revision.startswith("1-")


def test_columns_in_another_order_make_the_same_products(catalog: Path) -> None:
    display = open_catalog(catalog, SPEC).display
    reversed_columns = display.select(display.column_names[::-1])
    assert ProductTable(reversed_columns).take([1, 0]) == [Product("p0"), FULL]


def test_columns_are_typed_and_the_id_is_the_key(catalog: Path) -> None:
    dataset = lance.dataset(str(catalog))
    prices = dataset.to_table(columns=["price_amount", "price_currency", "title"]).to_pylist()
    assert prices[0] == {"price_amount": Decimal("15.0000"), "price_currency": "USD", "title": FULL.title}
    assert prices[1] == {"price_amount": None, "price_currency": None, "title": None}
    field = dataset.schema.field("id")
    assert not field.nullable
    assert field.metadata[b"lance-schema:unenforced-primary-key"] == b"true"


def test_equal_content_is_an_equal_revision_however_it_was_written(tmp_path: Path) -> None:
    rows = [row(f"p{number}", unit_vectors(1, number)) for number in range(6)]
    write_catalog(tmp_path / "at-once", rows)
    with CatalogWriter(tmp_path / "in-parts", SPEC, replace=False) as writer:
        for one in rows:
            writer.add([one])
            writer._flush()
        writer.publish(BUILT.replace(year=2027))
    assert open_catalog(tmp_path / "at-once").revision == open_catalog(tmp_path / "in-parts").revision


def test_another_embedder_is_refused_with_reason_and_remedy(catalog: Path) -> None:
    with pytest.raises(SightlineError, match=r"another embedder: .*Build it again") as caught:
        open_catalog(catalog, replace(SPEC, sha256="00" * 32))
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_a_changed_byte_of_a_vector_is_noticed(catalog: Path) -> None:
    stored = unit_vectors(4).astype(np.float16)[3].tobytes()
    [file] = (catalog / "data").iterdir()
    content = bytearray(file.read_bytes())
    place = content.find(stored)
    assert place > 0
    content[place] ^= 1
    file.write_bytes(content)
    with pytest.raises(SightlineError, match="not what was written"):
        open_catalog(catalog)


def test_a_truncated_file_is_noticed(catalog: Path) -> None:
    [file] = (catalog / "data").iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(SightlineError, match="damaged") as caught:
        open_catalog(catalog)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_rows_that_others_appended_are_noticed(catalog: Path) -> None:
    lance.write_dataset(lance.dataset(str(catalog)).to_table(), str(catalog), mode="append")
    with pytest.raises(SightlineError, match="damaged"):
        open_catalog(catalog)


def test_a_dataset_of_others_is_no_catalog(tmp_path: Path, catalog: Path) -> None:
    table = lance.dataset(str(catalog)).to_table().replace_schema_metadata(None)
    lance.write_dataset(table, str(tmp_path / "foreign"))
    with pytest.raises(SightlineError, match="not a Sightline catalog"):
        open_catalog(tmp_path / "foreign")


def test_nothing_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="sightline catalog build FEED --out"):
        open_catalog(tmp_path / "nowhere")


def test_vectors_that_are_not_normalised_are_not_published(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="not normalised"):
        write_catalog(tmp_path / "shop", [row("p", unit_vectors(1) * 2)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "rows",
    [
        [row("a", unit_vectors(1)), row("a", unit_vectors(1))],
        [row("", unit_vectors(1))],
        [row("a", unit_vectors(0))],
        [row("a", unit_vectors(21))],
        [row("a", unit_vectors(1, dimension=DIMENSION + 1))],
    ],
    ids=["same id", "no id", "no image", "too many images", "wrong dimension"],
)
def test_rows_that_the_writer_does_not_take(tmp_path: Path, rows: list[CatalogRow]) -> None:
    with pytest.raises(ValueError, match=r"a product|product ids"):
        write_catalog(tmp_path / "shop", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_replaced_while_it_is_read_is_read_again(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, attempts = assemble, []

    def replaced_meanwhile(*arguments: object) -> object:
        attempts.append(arguments)
        if len(attempts) == 1:
            write_catalog(catalog, [row("new", unit_vectors(1, 9))], replace=True)
        return whole(*arguments)  # type: ignore[arg-type]

    # Only the reader's first attempt is disturbed; the writer checks its own result through the same function.
    monkeypatch.setattr(catalog_module, "assemble", replaced_meanwhile)
    assert open_catalog(catalog).display["id"].to_pylist() == ["new"]


def test_rows_with_long_texts_are_written_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = DatasetWriter.write

    def counted(dataset: DatasetWriter, rows: list[CatalogRow]) -> None:
        written.append(len(rows))
        write(dataset, rows)

    monkeypatch.setattr(DatasetWriter, "write", counted)
    monkeypatch.setattr(writer, "FRAGMENT_BYTES", 1_000_000)
    rows = [row(f"p{n}", unit_vectors(1, n)) for n in range(40)]
    long = [replace(each, product=replace(each.product, attributes={"description": "x" * 60_000})) for each in rows]
    with CatalogWriter(tmp_path / "shop", SPEC, replace=False) as target:
        for each in long:
            target.add([each])
        target.publish(BUILT)
    assert written == [17, 17, 6]
    assert open_catalog(tmp_path / "shop").facts.products == 40


def test_operations_of_a_log_are_read_once(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LivingCatalog(catalog) as living:
        living.upsert([row("new", unit_vectors(1, 9))])
    read: list[int] = []

    def counted(connection: sqlite3.Connection, path: Path) -> Recorded:
        found = log_recorded(connection, path)
        read.append(len(found.operations))
        return found

    log_recorded = log_module.recorded
    monkeypatch.setattr(log_module, "recorded", counted)
    assert len(open_catalog(catalog, SPEC).display) == 4
    assert read == [1], "the check that the catalog was not replaced meanwhile reads no operation"


def test_current_revision_is_read_without_its_operations(catalog: Path) -> None:
    with LivingCatalog(catalog) as living:
        living.delete(["p0"])
        current = living.checkpoint()
        living.delete(["p2"])
    assert log_module.read_current(catalog) == log_module.read_recorded(catalog).current == current
