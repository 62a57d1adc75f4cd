"""`sightline catalog` with catalogs that keep original images: `info`, `verify`, and the option of `upsert`."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_server.catalog.originals_file import ORIGINALS, keeps_originals
from sightline_server.cli.catalog import app
from sightline_server.index.living import LivingCatalog
from sightline_server.index.writer import CatalogWriter
from tests.support.catalogs import BUILT, SPEC, row, unit_vectors, write_catalog


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A built catalog with two originals of 250 kB each."""
    with CatalogWriter(tmp_path / "shop", SPEC, replace=False, keep_originals=True) as writer:
        files = [writer.originals.add(bytes([n]) * 250_000) for n in (1, 2)]
        writer.add([replace(row("p", unit_vectors(2)), originals=tuple(files))])
        writer.publish(BUILT)
    return tmp_path / "shop"


@pytest.mark.parametrize("changed", [False, True])
def test_info_shows_the_size_of_the_originals(shop: Path, changed: bool) -> None:
    if changed:
        with LivingCatalog(shop):
            pass
    shown = command("info", shop)
    assert shown.exit_code == 0, shown.output
    assert "originals   2 image files, 0.5 MB (0." in shown.stdout


def test_info_of_a_catalog_without_originals_does_not_mention_them(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [row("p", unit_vectors(1))])
    assert "originals" not in command("info", tmp_path / "shop").stdout


@pytest.mark.parametrize("changed", [False, True])
def test_verify_compares_every_original(shop: Path, changed: bool) -> None:
    if changed:
        with LivingCatalog(shop):
            pass
    intact = command("verify", "--catalog", shop)
    assert intact.exit_code == 0, intact.output
    assert "originals: 2 image files: intact" in intact.stdout
    with sqlite3.connect(shop / ORIGINALS) as connection:
        connection.execute("UPDATE contents SET content = zeroblob(3) WHERE number = 2")
    connection.close()
    damaged = command("verify", "--catalog", shop)
    assert damaged.exit_code == 1
    assert "is not what was stored" in damaged.stderr


def test_a_damaged_file_of_originals_is_named_with_the_remedy(shop: Path) -> None:
    (shop / ORIGINALS).write_bytes(b"nothing that SQLite reads" * 100)
    for arguments in (("info", shop), ("verify", "--catalog", shop), ("delete", "p", "--catalog", shop)):
        failed = command(*arguments)
        assert failed.exit_code == 2
        assert "or remove it: the products stay as they are" in failed.stderr
    (shop / ORIGINALS).unlink()
    assert command("info", shop).exit_code == 0


def test_upsert_switches_keeping_on_and_off(tmp_path: Path) -> None:
    shop, feed = tmp_path / "shop", tmp_path / "feed.jsonl"
    write_catalog(shop, [row("p", unit_vectors(1))])
    line = {"id": "new", "image_link": "https://shop.example/n.jpg", "embedder": SPEC.identity}
    feed.write_text(json.dumps(line | {"embeddings": unit_vectors(1, 4).tolist()}))
    for option, kept in (((), False), (("--keep-originals",), True), ((), True), (("--no-keep-originals",), False)):
        written = command("upsert", feed, "--catalog", shop, "--embedded", *option)
        assert written.exit_code == 0, written.output
        assert keeps_originals(shop) is kept


def test_upsert_to_a_server_refuses_the_option(tmp_path: Path) -> None:
    refused = command("upsert", tmp_path / "f.csv", "--catalog", "shop", "--target", "127.0.0.1:1", "--keep-originals")
    assert refused.exit_code == 2
    assert "server.keep_originals" in refused.stderr
