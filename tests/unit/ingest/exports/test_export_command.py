"""`sightline catalog export`, and what it wrote brought back by `upsert --embedded`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_server.catalog.log import read_recorded
from sightline_server.cli.catalog import app
from sightline_server.index.living import LivingCatalog
from sightline_server.index.schema import CatalogRow
from tests.support.catalogs import row, unit_vectors, write_catalog


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def shop_rows(count: int = 12) -> list[CatalogRow]:
    attributes = [{"color": "red", "size": "M"}, {"size": "L", "color": "blue"}, {"Odd Name": " x "}, {}]
    return [
        row(f"p{n}", unit_vectors(1 + n % 3, n), title=f"title {n} ", brand="Norrvik", attributes=attributes[n % 4])
        for n in range(count)
    ]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalog of format 1."""
    write_catalog(tmp_path / "shop", shop_rows())
    return tmp_path / "shop"


def living(shop: Path) -> Path:
    """The catalog with a log: two revisions, and an operation after them."""
    with LivingCatalog(shop) as catalog:
        catalog.delete(["p0"])
        catalog.checkpoint()
        catalog.upsert([row("late", unit_vectors(2, 99), title="late")])
    return shop


def empty_catalog(path: Path) -> Path:
    """A catalog with a log and no products."""
    write_catalog(path, [row("first", unit_vectors(1))])
    with LivingCatalog(path) as catalog:
        catalog.delete(["first"])
        catalog.checkpoint()
    return path


def digest_of(catalog: Path) -> str:
    return read_recorded(catalog).current.digest


@pytest.mark.parametrize("name", ["shop.jsonl", "shop.jsonl.gz", "shop.parquet", "shop.parquet.gz"])
def test_export_with_embeddings_comes_back_with_the_same_digest(shop: Path, tmp_path: Path, name: str) -> None:
    living(shop)
    feed = tmp_path / name
    result = command("export", shop, "--out", feed, "--embeddings")
    assert result.exit_code == 0, result.output
    assert "12 products" in result.stdout
    with LivingCatalog(shop) as catalog:
        catalog.checkpoint()
    copy = empty_catalog(tmp_path / "copy")
    result = command("upsert", feed, "--catalog", copy, "--embedded")
    assert result.exit_code == 0, result.output
    assert "12 products written, 0 rows skipped" in result.stdout
    assert digest_of(copy) == digest_of(shop)


def test_export_of_a_built_catalog_comes_back_with_the_same_digest(shop: Path, tmp_path: Path) -> None:
    result = command("export", shop, "--out", tmp_path / "a.jsonl", "--embeddings")
    assert result.exit_code == 0, result.output
    copy = empty_catalog(tmp_path / "copy")
    assert command("upsert", tmp_path / "a.jsonl", "--catalog", copy, "--embedded").exit_code == 0
    with LivingCatalog(shop):
        pass
    assert digest_of(copy) == digest_of(shop)


def ids_in(feed: Path) -> list[str]:
    return sorted(json.loads(line)["id"] for line in feed.read_text(encoding="utf-8").splitlines())


def test_export_of_now_has_the_log_and_an_earlier_revision_has_not(shop: Path, tmp_path: Path) -> None:
    living(shop)
    assert command("export", shop, "--out", tmp_path / "now.jsonl").exit_code == 0
    assert ids_in(tmp_path / "now.jsonl") == sorted(["late", *(f"p{n}" for n in range(1, 12))])
    result = command("export", shop, "--out", tmp_path / "first.jsonl", "--revision", 1)
    assert result.exit_code == 0, result.output
    assert "revision    1-" in result.stdout
    assert ids_in(tmp_path / "first.jsonl") == sorted(f"p{n}" for n in range(12))
    name = read_recorded(shop).revisions[0].name
    assert command("export", shop, "--out", tmp_path / "second.jsonl", "--revision", name).exit_code == 0
    assert ids_in(tmp_path / "second.jsonl") == sorted(f"p{n}" for n in range(1, 12))


@pytest.mark.parametrize(
    ("revision", "code", "text"),
    [
        ("9", 1, "there is no revision 9; the newest one is 2"),
        ("x", 2, "'x' is not a revision"),
        ("1-000000000000", 2, "revision 1 is 1-"),
    ],
)
def test_unknown_revision_is_refused(shop: Path, tmp_path: Path, revision: str, code: int, text: str) -> None:
    living(shop)
    result = command("export", shop, "--out", tmp_path / "a.csv", "--revision", revision)
    assert (result.exit_code, text in result.stderr) == (code, True), result.output
    assert not (tmp_path / "a.csv").exists()


def test_only_revision_of_a_built_catalog_is_its_first(shop: Path, tmp_path: Path) -> None:
    assert command("export", shop, "--out", tmp_path / "a.csv", "--revision", 1).exit_code == 0
    result = command("export", shop, "--out", tmp_path / "b.csv", "--revision", 2)
    assert result.exit_code == 1
    assert "there is no revision 2; the catalog was never changed" in result.stderr


def test_existing_file_is_kept_without_replace(shop: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    result = command("export", shop, "--out", target)
    assert result.exit_code == 2
    assert "already exists; --replace writes it again" in result.stderr
    assert target.read_text() == "old"
    assert command("export", shop, "--out", target, "--replace").exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("id,title,")


def test_standard_output_holds_the_feed_only(shop: Path) -> None:
    result = command("export", shop, "--out", "-", "--format", "jsonl")
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [f"p{n}" for n in range(12)]
    assert "standard output: 12 products" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--out", "feed"), "does not say its format"),
        (("--out", "-"), "does not say its format"),
        (("--out", "feed.csv", "--embeddings"), "cannot hold embeddings"),
        (("--out", "feed.jsonl", "--format", "xlsx"), "is not one of"),
    ],
)
def test_wrong_request_is_refused(shop: Path, arguments: tuple[str, ...], text: str) -> None:
    result = command("export", shop, *arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_folder_without_a_catalog_is_refused(tmp_path: Path) -> None:
    result = command("export", tmp_path / "none", "--out", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "there is no catalog at" in result.stderr


def test_catalog_without_products_gives_a_feed_without_rows(tmp_path: Path) -> None:
    shop = empty_catalog(tmp_path / "shop")
    for name in ("a.csv", "a.jsonl", "a.xml", "a.parquet", "a.tsv"):
        result = command("export", shop, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert "0 products" in result.stdout


@pytest.mark.parametrize("name", ["feed.csv", "feed.xml"])
def test_embedded_feed_of_another_format_is_refused(shop: Path, tmp_path: Path, name: str) -> None:
    assert command("export", shop, "--out", tmp_path / name).exit_code == 0
    result = command("upsert", tmp_path / name, "--catalog", shop, "--embedded")
    assert result.exit_code == 2
    assert "products with ready embeddings are JSON lines, one object a line, or Parquet" in result.stderr


def test_embedded_parquet_without_embeddings_is_refused(shop: Path, tmp_path: Path) -> None:
    assert command("export", shop, "--out", tmp_path / "a.parquet").exit_code == 0
    result = command("upsert", tmp_path / "a.parquet", "--catalog", shop, "--embedded")
    assert result.exit_code == 2
    assert "has no column embedder" in result.stderr


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz", "a.parquet.gz"])
def test_export_that_was_cut_off_writes_nothing(shop: Path, tmp_path: Path, name: str) -> None:
    feed = tmp_path / name
    assert command("export", shop, "--out", feed, "--embeddings").exit_code == 0
    feed.write_bytes(feed.read_bytes()[:-40])
    copy = empty_catalog(tmp_path / "copy")
    before = digest_of(copy)
    result = command("upsert", feed, "--catalog", copy, "--embedded")
    assert result.exit_code == 2, result.output
    assert digest_of(copy) == before
