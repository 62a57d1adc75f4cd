"""`sightline catalog upsert` of a feed with the real Triton: its images are embedded and added to what was built."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner, Result

from sightline_server.cli.catalog import app
from sightline_server.index.catalog import open_catalog
from tests.support.catalogs import row, unit_vectors, write_catalog, write_feed, write_picture
from tests.support.engine import TritonSession, tiny_repository, tiny_triton

__all__ = ["tiny_repository", "tiny_triton"]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_feed_changes_a_built_catalog_as_a_build_of_both_would(tmp_path: Path, tiny_triton: TritonSession) -> None:
    for shade in range(4):
        write_picture(tmp_path / f"{shade}.png", 60 * shade)
    first = [{"id": f"p{n}", "title": "first", "image_link": f"{n}.png"} for n in range(3)]
    second = [
        {"id": "p1", "title": "second", "image_link": "3.png"},
        {"id": "new", "title": "new", "image_link": "0.png"},
        {"id": "bad", "title": "bad", "image_link": "none.png"},
    ]
    engine = ("--triton-url", tiny_triton.url)
    shop, expected = tmp_path / "shop", tmp_path / "expected"
    assert command("build", write_feed(tmp_path / "1.csv", first), "--out", shop, *engine).exit_code == 0
    result = command("upsert", write_feed(tmp_path / "2.csv", second), "--catalog", shop, *engine)
    assert result.exit_code == 0, result.output
    assert f"{shop}: 2 products written, 1 row skipped" in result.stdout
    assert "row 4 (bad): none.png: there is no such file" in result.stderr
    both = [first[0], second[0], first[2], second[1]]
    assert command("build", write_feed(tmp_path / "3.csv", both), "--out", expected, *engine).exit_code == 0

    found, wanted = open_catalog(shop), open_catalog(expected)
    assert sorted(found.display.to_pylist(), key=lambda each: each["id"]) == sorted(
        wanted.display.to_pylist(), key=lambda each: each["id"]
    )
    for product in wanted.display["id"].to_pylist():
        rows = [each.display["id"].to_pylist().index(product) for each in (found, wanted)]
        assert np.array_equal(found.vectors[found.owners == rows[0]], wanted.vectors[wanted.owners == rows[1]])
    again = command("upsert", tmp_path / "2.csv", "--catalog", shop, "--strict", *engine)
    assert again.exit_code == 1
    assert "sightline: 2.csv, row 4 (bad)" in again.stderr
    replacing = ("build", tmp_path / "1.csv", "--out", shop, "--replace", *engine)
    refused = command(*replacing)
    assert refused.exit_code == 2
    assert "--discard-revisions" in refused.stderr
    assert open_catalog(shop).revision == found.revision
    replaced = command(*replacing, "--discard-revisions")
    assert replaced.exit_code == 0, replaced.output
    assert "discarded: its log with 2 revisions of the catalog that was there" in replaced.stdout
    assert command(*replacing).exit_code == 0, "it has never been changed"


def test_a_catalog_of_another_embedder_is_not_changed(tmp_path: Path, tiny_triton: TritonSession) -> None:
    write_picture(tmp_path / "a.png", 3)
    write_catalog(tmp_path / "shop", [row("old", unit_vectors(1))])
    feed = write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "a.png"}])
    result = command("upsert", feed, "--catalog", tmp_path / "shop", "--triton-url", tiny_triton.url)
    assert result.exit_code == 2
    assert "was made with another embedder" in result.stderr
    assert open_catalog(tmp_path / "shop").display["id"].to_pylist() == ["old"]
