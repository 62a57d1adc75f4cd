"""The `sightline catalog` verbs that change, list, check and restore a catalog, without an engine."""

import gc
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sightline_server.catalog.store import CatalogStore
from sightline_server.cli.catalog import app
from sightline_server.cli.catalog_delete import ids_of
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.milvus.binding import Binding
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog
from tests.support.generations import OTHER, prepare


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def line(product_id: str, seed: int = 0, images: int = 1, **fields: Any) -> dict[str, Any]:
    """One product with ready embeddings."""
    links = [f"https://shop.example/{product_id}/{number}.jpg" for number in range(images)]
    ready = {"embedder": SPEC.identity, "embeddings": unit_vectors(images, seed).tolist()}
    return {"id": product_id, "image_link": links[0], "additional_image_link": links[1:], **ready, **fields}


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalog of format 1 with 5 products."""
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1, n), title=f"title {n}") for n in range(5)])
    return tmp_path / "shop"


def ids(shop: Path) -> list[str]:
    found: list[str] = open_catalog(shop).display["id"].to_pylist()
    return sorted(found)


def test_change_of_a_folder_says_that_its_copy_in_milvus_stays(shop: Path) -> None:
    assert "catalog reload" in command("delete", "p1", "--catalog", shop).stderr
    Binding("sightline_shop__1", epoch=1, seq=0).write(shop)
    result = command("delete", "p2", "--catalog", shop)
    assert result.exit_code == 0 and "catalog reload" not in result.stderr
    assert (
        f"Its copy in Milvus is as it was, and is not written until the two are equal: sightline catalog push {shop}"
        in (result.stderr)
    )


def test_upsert_with_embeddings_adds_and_replaces_products(shop: Path, tmp_path: Path) -> None:
    feed = write_lines(tmp_path / "new.jsonl", [line("p1", 50, title="changed", price="3.50 EUR"), line("new", 51, 2)])
    result = command("upsert", feed, "--catalog", shop, "--embedded")
    assert result.exit_code == 0, result.output
    assert f"{shop}: 2 products written, 0 rows skipped" in result.stdout
    catalog = open_catalog(shop, SPEC)
    assert catalog.revision.startswith("2-")
    assert catalog.revision in result.stdout
    found = {each["id"]: each for each in catalog.display.to_pylist()}
    assert sorted(found) == ["new", "p0", "p1", "p2", "p3", "p4"]
    assert (found["p1"]["title"], found["p1"]["price"]) == ("changed", "3.50 EUR")
    place = catalog.display["id"].to_pylist().index("new")
    assert np.array_equal(catalog.vectors[catalog.owners == place], unit_vectors(2, 51).astype(np.float16))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"embedder": "other@123"}, "its embedder is other@123, the catalog has tiny@abababababab"),
        ({"embedder": None}, "it does not name its embedder"),
        ({"embeddings": [[1.0] + [0.0] * DIMENSION]}, f"the shape [1, {DIMENSION + 1}], expected [1, {DIMENSION}]"),
        ({"embeddings": [[float("nan")] * DIMENSION]}, "not finite"),
        ({"embeddings": [[0.0] * DIMENSION]}, "length 0, expected 1"),
        ({"embeddings": [[3.0] * DIMENSION]}, "expected 1"),
        ({"embeddings": [[1e300] * DIMENSION]}, "not finite"),
        ({"embeddings": [["x"] * DIMENSION]}, "not a list of lists of numbers"),
        ({"embeddings": "none"}, "not a list of lists of numbers"),
        ({"embeddings": []}, "not a list of lists of numbers"),
        ({"embeddings": None}, "not a list of lists of numbers"),
        ({"embeddings": [[1.0], [0.0, 1.0]]}, "not a list of lists of numbers"),
        ({"image_link": "", "additional_image_link": []}, "there is no image_link"),
        ({"id": ""}, "there is no id"),
        ({"attributes": {f"a{n}": "x" for n in range(20_000)}}, "bytes of text"),
    ],
)
def test_an_unusable_product_is_reported_and_the_others_are_written(
    shop: Path, tmp_path: Path, bad: dict[str, Any], reason: str
) -> None:
    feed = write_lines(tmp_path / "new.jsonl", [line("good", 60), line("bad", 61) | bad, line("also", 62)])
    result = command("upsert", feed, "--catalog", shop, "--embedded")
    assert result.exit_code == 0, result.output
    assert "2 products written, 1 row skipped" in result.stdout
    assert reason in result.stderr
    assert {"good", "also"} < set(ids(shop))
    assert "bad" not in ids(shop)


def test_a_feed_cut_off_in_the_middle_keeps_the_whole_lines(shop: Path, tmp_path: Path) -> None:
    feed = write_lines(tmp_path / "new.jsonl", [line("one", 1), line("two", 2)])
    feed.write_bytes(feed.read_bytes()[:-40])
    result = command("upsert", feed, "--catalog", shop, "--embedded")
    assert result.exit_code == 0
    assert "row 2: is not a JSON object" in result.stderr
    assert "one" in ids(shop)


def test_an_upsert_of_nothing_usable_changes_nothing(shop: Path, tmp_path: Path) -> None:
    before = open_catalog(shop).vectors
    feed = write_lines(tmp_path / "new.jsonl", [line("one", 1, embedder="other")])
    result = command("upsert", feed, "--catalog", shop, "--embedded")
    assert result.exit_code == 1
    assert "no row of" in result.stderr
    assert "the catalog is unchanged" in result.stderr
    assert np.array_equal(open_catalog(shop).vectors, before)


def test_strict_stops_at_the_first_bad_product(shop: Path, tmp_path: Path) -> None:
    feed = write_lines(tmp_path / "new.jsonl", [line("one", 1, embedder="other"), line("two", 2)])
    assert command("upsert", feed, "--catalog", shop, "--embedded", "--strict").exit_code == 1
    assert "two" not in ids(shop)


def test_a_failure_within_a_long_feed_says_only_its_reason(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is suspended when its file is closed writes to standard error once it is collected."""
    complaints: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    rows = [line(f"n{number}", number) for number in range(600)]
    feed = write_lines(tmp_path / "new.jsonl", [line("bad", embedder="other"), *rows])
    assert command("upsert", feed, "--catalog", shop, "--embedded", "--strict").exit_code == 1
    changes = write_lines(tmp_path / "changes.jsonl", [{"id": "p1", "title": "new"}] * 600)
    with monkeypatch.context() as patch:
        patch.setattr(LivingCatalog, "update", refused)
        assert command("update", changes, "--catalog", shop).exit_code == 1
    gc.collect()
    assert complaints == []


def refused(*arguments: object) -> None:
    raise SightlineError(ErrorKind.OVERLOADED, "the disk is full")


def test_a_feed_of_another_format_is_refused_with_embedded(shop: Path, tmp_path: Path) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text("id,image_link\na,a.jpg\n")
    result = command("upsert", feed, "--catalog", shop, "--embedded")
    assert result.exit_code == 2
    assert "products with ready embeddings are JSON lines" in result.stderr


def test_update_changes_price_and_stock_and_keeps_the_rest(shop: Path, tmp_path: Path) -> None:
    before = open_catalog(shop)
    changes = [
        {"id": "p1", "price": "12.50 EUR", "availability": "out of stock"},
        {"id": "none", "price": "1 EUR"},
        {"id": "p2"},
        {"title": "no id"},
        {"id": "p3", "price": "-5 EUR", "product_type": "lamps"},
    ]
    result = command("update", write_lines(tmp_path / "changes.jsonl", changes), "--catalog", shop)
    assert result.exit_code == 0, result.output
    assert f"{shop}: 2 products changed, 3 rows skipped" in result.stdout
    assert "after `sightline catalog reload`" in result.stderr
    for text in (
        "row 2 (none): there is no such product",
        "row 3 (p2): has no new value",
        "row 4: there is no id",
        "row 5 (p3):",
    ):
        assert text in result.stderr
    after = open_catalog(shop)
    found = {each["id"]: each for each in after.display.to_pylist()}
    assert (found["p1"]["price"], found["p1"]["availability"]) == ("12.50 EUR", "out_of_stock")
    assert (found["p1"]["title"], found["p1"]["image_link"]) == ("title 1", before.display.to_pylist()[1]["image_link"])
    assert (found["p3"]["price"], found["p3"]["category"]) == ("", "lamps")
    order = [after.display["id"].to_pylist().index(f"p{number}") for number in range(5)]
    assert np.array_equal(after.vectors[order], before.vectors)


def test_an_update_of_nothing_is_refused(shop: Path, tmp_path: Path) -> None:
    none = write_lines(tmp_path / "changes.jsonl", [{"id": "none", "price": "1 EUR"}])
    assert command("update", none, "--catalog", shop).exit_code == 1
    (tmp_path / "feed.csv").write_text("id,image_link,price\np1,a.jpg,1 EUR\n")
    refused = command("update", tmp_path / "feed.csv", "--catalog", shop)
    assert refused.exit_code == 2
    assert "is not JSON" in refused.stderr


def test_delete_reports_what_was_not_found(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("p2\n\np3\n")
    result = command("delete", "p1", "none", "--file", tmp_path / "ids", "--catalog", shop)
    assert result.exit_code == 0, result.output
    assert "3 products deleted, 1 not found" in result.stdout
    assert "no product none" in result.stderr
    assert ids(shop) == ["p0", "p4"]
    assert command("delete", "p1", "--catalog", shop).exit_code == 1
    assert command("delete", "--catalog", shop).exit_code == 2


def test_delete_reads_ids_of_a_file_as_editors_write_it(shop: Path, tmp_path: Path) -> None:
    odd = "a\u2028b"
    assert command("upsert", write_lines(tmp_path / "new", [line(odd)]), "--catalog", shop, "--embedded").exit_code == 0
    # With the mark and the line ends of an editor on Windows.
    (tmp_path / "ids").write_bytes(f"\ufeffp1\r\n{odd}\r\n".encode())
    result = command("delete", "--file", tmp_path / "ids", "--catalog", shop)
    assert "2 products deleted, 0 not found" in result.stdout, result.output
    piped = CliRunner().invoke(app, ["delete", "--file", "-", "--catalog", str(shop)], input="\ufeffp2\n")
    assert "1 product deleted, 0 not found" in piped.stdout, piped.output
    assert ids(shop) == ["p0", "p3", "p4"]


def test_ids_of_a_file_that_is_not_utf8_delete_nothing(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes("p1\nstühl\n".encode("latin-1"))
    result = command("delete", "--file", tmp_path / "ids", "--catalog", shop)
    assert (result.exit_code, "line 2 is not UTF-8 text" in result.stderr) == (2, True), result.output
    assert len(ids(shop)) == 5


def test_ids_from_a_closed_standard_input_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SightlineError, match="standard input is closed"):
        ids_of(Path("-"))


def test_rollback_restores_an_earlier_revision_and_another_one_undoes_it(shop: Path) -> None:
    assert command("delete", "p1", "--catalog", shop).exit_code == 0
    digest = open_catalog(shop).facts.content_sha256
    result = command("rollback", "1", "--catalog", shop)
    assert result.exit_code == 0, result.output
    assert ids(shop) == ["p0", "p1", "p2", "p3", "p4"]
    assert command("rollback", "2", "--catalog", shop).exit_code == 0
    assert open_catalog(shop).facts.content_sha256 == digest
    listed = command("revisions", "--catalog", shop)
    assert [text.split()[1].partition("-")[0] for text in listed.stdout.splitlines()] == ["4", "3", "2", "1"]
    found = json.loads(command("revisions", "--json", "--catalog", shop).stdout)
    assert [(each["number"], each["kind"], each["rows"]) for each in found] == [
        *((4, "rollback", 4), (3, "rollback", 5), (2, "checkpoint", 4), (1, "build", 5))
    ]


@pytest.mark.parametrize(
    ("revision", "code", "reason"),
    [("9", 2, "there is no revision 9"), ("x", 2, "'x' is not a revision"), ("1-ffff", 2, "revision 1 is 1-")],
)
def test_a_rollback_to_no_revision_is_refused(shop: Path, revision: str, code: int, reason: str) -> None:
    command("delete", "p1", "--catalog", shop)
    result = command("rollback", revision, "--catalog", shop)
    assert result.exit_code == code
    assert reason in result.stderr
    assert len(ids(shop)) == 4


@pytest.mark.parametrize("damaged", [False, True])
def test_a_build_does_not_throw_revisions_away_unasked(shop: Path, tmp_path: Path, damaged: bool) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text("id,image_link\na,a.jpg\n")
    command("delete", "p1", "--catalog", shop)
    if damaged:
        (shop / "log.sqlite").write_bytes(b"garbage")
    result = command("build", feed, "--out", shop, "--replace")
    assert result.exit_code == 2, result.output
    lost = "a log that cannot be read" if damaged else "its log with 2 revisions"
    assert f"{shop} was changed since it was built; --replace would throw away {lost}, " in result.stderr
    assert "--discard-revisions" in result.stderr
    if not damaged:
        assert len(ids(shop)) == 4


def test_one_is_not_written_in_the_plural(tmp_path: Path) -> None:
    shop = tmp_path / "one"
    write_catalog(shop, [row("p0", unit_vectors(1)), row("p1", unit_vectors(1, 1))])
    deleted = command("delete", "p1", "none", "--catalog", shop)
    assert f"{shop}: 1 product deleted, 1 not found" in deleted.stdout
    listed = command("revisions", "--catalog", shop).stdout
    assert "1 product, 1 image  delete of 1 product  by" in listed
    assert "2 products, 2 images" in listed
    with LivingCatalog(shop) as living:
        living.upsert([row("p2", unit_vectors(1, 2))])
    assert "1 operation since then is in the log" in command("revisions", "--catalog", shop).stdout
    checked = command("verify", "--catalog", shop).stdout
    assert "log: 2 revisions, 1 operation after the last one" in checked
    assert "revision 2: 1 product, 1 image, digest" in checked
    feed = write_lines(tmp_path / "new.jsonl", [line("p0", 5), line("bad", 6, embedder="other")])
    written = command("upsert", feed, "--catalog", shop, "--embedded").stdout
    assert "1 product written, 1 row skipped" in written
    changes = write_lines(tmp_path / "changes.jsonl", [{"id": "p0", "title": "x"}])
    assert "1 product changed, 0 rows skipped" in command("update", changes, "--catalog", shop).stdout


def test_compact_removes_the_content_of_old_revisions(shop: Path) -> None:
    for product_id in ("p0", "p1", "p2"):
        command("delete", product_id, "--catalog", shop)
    before = open_catalog(shop).facts.content_sha256
    result = command("compact", "--keep", "2", "--catalog", shop)
    assert result.exit_code == 0, result.output
    assert open_catalog(shop).facts.content_sha256 == before
    refused = command("rollback", "1", "--catalog", shop)
    assert refused.exit_code == 2
    assert "the content of revision 1 was removed; the oldest one kept is 3" in refused.stderr
    assert command("rollback", "3", "--catalog", shop).exit_code == 0
    assert command("verify", "--all", "--catalog", shop).exit_code == 0


def test_a_catalog_that_was_never_changed_is_listed_and_verified_and_stays_as_it_is(shop: Path) -> None:
    before = sorted(path.name for path in shop.iterdir())
    assert "never changed" in command("revisions", "--catalog", shop).stdout
    result = command("verify", "--catalog", shop)
    assert result.exit_code == 0
    assert "5 products: intact" in result.stdout
    assert sorted(path.name for path in shop.iterdir()) == before


def test_commands_name_a_folder_that_is_no_catalog(tmp_path: Path) -> None:
    for verb in (["revisions"], ["verify"], ["compact"], ["rollback", "1"], ["delete", "a"]):
        result = command(*verb, "--catalog", tmp_path / "none")
        assert result.exit_code == 2, (verb, result.output)
        assert "there is no catalog at" in result.stderr


def test_a_second_writer_is_refused_by_name(shop: Path) -> None:
    command("delete", "p1", "--catalog", shop)
    with CatalogStore(shop):
        result = command("delete", "p2", "--catalog", shop)
        assert result.exit_code == 2
        assert "writes to the catalog at" in result.stderr
        assert command("verify", "--catalog", shop).exit_code == 0
    assert command("delete", "p2", "--catalog", shop).exit_code == 0


def test_a_prepared_revision_is_listed_and_activated_or_refused_with_exit_code_2(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        early = prepare(shop, living)
        living.upsert([row("new", unit_vectors(1, 9))])
        late = prepare(shop, living)
    listed = command("revisions", "--catalog", shop).stdout
    assert "prepared    generation 2  5 products" in listed
    assert "prepared    generation 3  6 products" in listed
    assert "1 operation since then is in the log" in listed
    refused = command("rollback", early.number, "--catalog", shop)
    assert (refused.exit_code, "(1 new, 0 changed)" in refused.stderr) == (2, True)
    assert command("rollback", late.number, "--catalog", shop).exit_code == 0
    found = json.loads(command("revisions", "--json", "--catalog", shop).stdout)
    assert [each["generation"] for each in found] == [3, 1, 3, 2, 1]
    assert len(open_catalog(shop, OTHER).vectors) == 6
    assert command("verify", "--all", "--catalog", shop).exit_code == 0
