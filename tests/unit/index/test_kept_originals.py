"""Originals of a catalog that is built and changed: each revision has the files that its images were made from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline_server.catalog.originals import originals_size
from sightline_server.catalog.originals_file import ORIGINALS, keeps_originals
from sightline_server.index.living import LivingCatalog
from sightline_server.index.originals import image_key, keys_of, needed_images, row_keys
from sightline_server.index.schema import CatalogRow, to_table
from sightline_server.index.stored_rows import stored_rows
from sightline_server.index.writer import CatalogWriter
from tests.support.catalogs import BUILT, DIMENSION, SPEC, row, unit_vectors, write_catalog


def kept_row(living: LivingCatalog, product_id: str, seed: int, *files: bytes) -> CatalogRow:
    made = row(product_id, unit_vectors(len(files), seed))
    return replace(made, originals=tuple(map(living.originals.add, files)))


def contents(living: LivingCatalog, path: Path, revision: int | None = None) -> dict[str, list[bytes | None]]:
    rows = [each for batch in stored_rows(path, revision).checked() for each in batch]
    return {each.product.id: list(map(living.originals.content, row_keys(each))) for each in rows}


def files(path: Path) -> int:
    size = originals_size(path)
    assert size is not None
    return size.files


def test_stored_rows_and_written_rows_have_the_same_keys() -> None:
    rows = [row("p", unit_vectors(3)), row("q", unit_vectors(1, 2))]
    batch = to_table(rows, DIMENSION).combine_chunks().to_batches()[0]
    assert list(keys_of(batch)) == [key for each in rows for key in row_keys(each)]
    assert list(keys_of(batch.slice(1))) == row_keys(rows[1])
    assert list(keys_of(batch.slice(0, 0))) == []


def test_a_key_tells_links_and_embeddings_apart() -> None:
    first, second = unit_vectors(2)
    keys = {image_key("a", first), image_key("b", first), image_key("a", second), image_key("a\udcff", first)}
    assert len(keys) == 4
    assert image_key("a", first) == image_key("a", first.astype(np.float16).astype(np.float32))


def test_a_built_catalog_keeps_its_files_when_it_is_changed(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    with CatalogWriter(shop, SPEC, replace=False, keep_originals=True) as writer:
        made = [replace(row(f"p{n}", unit_vectors(1, n)), originals=(writer.originals.add(b"%d" % n),)) for n in (1, 2)]
        writer.originals.add(b"of a row that was not added")
        writer.add(made)
        writer.publish(BUILT)
    assert [path.name for path in shop.glob(f"{ORIGINALS}*")] == [ORIGINALS]
    with LivingCatalog(shop) as living:
        living.upsert([kept_row(living, "p3", 3, b"3", b"3b")])
        assert contents(living, shop) == {"p1": [b"1"], "p2": [b"2"], "p3": [b"3", b"3b"]}
    assert not (shop / "base.lance" / ORIGINALS).exists()


def test_a_catalog_that_was_not_asked_to_keeps_nothing(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.upsert([kept_row(living, "p2", 2, b"2")])
        assert living.originals.add(b"x") == ""
        assert contents(living, shop) == {"p1": [None], "p2": [None]}
        living.compact()
    assert not keeps_originals(shop)
    assert originals_size(shop) is None


def test_keeping_can_be_switched_on_and_off(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
        living.upsert([kept_row(living, "p2", 2, b"2")])
    with LivingCatalog(shop) as living:
        assert contents(living, shop) == {"p1": [None], "p2": [b"2"]}
        living.originals.switch(False)
        assert not living.originals.kept
        assert contents(living, shop) == {"p1": [None], "p2": [None]}
    assert not list(shop.glob(f"{ORIGINALS}*"))


def test_each_revision_has_its_files_until_its_content_is_removed(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
        living.upsert([kept_row(living, "p", 1, b"first"), kept_row(living, "q", 5, b"other")])
        second = living.checkpoint().number
        living.upsert([kept_row(living, "p", 2, b"second")])
        living.checkpoint()
        living.delete(["q"])
        living.upsert([kept_row(living, "r", 7, b"in the log only")])
        living.originals.sweep(idle=True)
        assert contents(living, shop, second) == {"p1": [None], "p": [b"first"], "q": [b"other"]}
        assert contents(living, shop) == {"p1": [None], "p": [b"second"], "r": [b"in the log only"]}
        living.compact(1)
        assert contents(living, shop) == {"p1": [None], "p": [b"second"], "r": [b"in the log only"]}
        assert files(shop) == 2


def test_a_rolled_back_revision_has_its_files_again(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
        living.upsert([kept_row(living, "p", 1, b"first")])
        first = living.checkpoint().number
        living.upsert([kept_row(living, "p", 2, b"second")])
        living.checkpoint()
        living.store.rollback(first)
        living.compact(1)
        assert contents(living, shop) == {"p1": [None], "p": [b"first"]}
        assert files(shop) == 1


def test_old_revisions_lose_their_files_without_a_command(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
        living.store._keep = 2
        counts = []
        for number in range(18):
            living.upsert([kept_row(living, "p", number, b"file %d" % number)])
            living.checkpoint()
            counts.append(files(shop))
        kept = sum(each.base_version is not None for each in living.store.revisions)
        assert contents(living, shop) == {"p1": [None], "p": [b"file 17"]}
    assert max(counts) <= 12, "bounded by the revisions that are kept, and those of one sweep before"
    assert kept <= 7


def test_a_sweep_that_fails_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p1", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
        living.store._keep = 1
        assert living.originals._store is not None
        living.originals._store._connection.execute("DROP TABLE sweeps")
        for number in range(8):
            living.upsert([row("p", unit_vectors(1, number))])
            living.checkpoint()
        assert living.store.revisions[0].number == 9


def test_shared_files_of_rows_are_read_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(1, n)) for n in range(4)])
    with LivingCatalog(shop) as living:
        living.delete(["p0"])
        living.checkpoint()
        living.upsert([row("p1", unit_vectors(1, 9))])
        living.checkpoint()
        expected = {image_key("p1-0.jpg", unit_vectors(1, 9)[0])}
        expected |= {image_key(f"p{n}-0.jpg", unit_vectors(1, n)[0]) for n in range(4)}
        assert needed_images(shop) == expected
