"""`sightline catalog ... --target` as a user runs it, against a CatalogService in this process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from typer.testing import CliRunner, Result

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client.cli.remote_catalog import connect
from sightline_server.cli.catalog import app
from tests.support.catalogs import write_feed, write_picture
from tests.support.fake_catalog import FakeCatalog, revision, serving_in_thread, stored
from tests.support.fake_lens import status_of


def sightline(*arguments: object, stdin: bytes = b"") -> Result:
    """The command in this process, with the client that `sightline` gives it."""
    given = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, given, input=stdin, obj=connect)


@pytest.fixture
def fake() -> FakeCatalog:
    return FakeCatalog(
        products={f"p{number}": stored(f"p{number}", title="Chair", price="1 USD") for number in range(3)},
        revisions=[revision(2, pb.REVISION_KIND_CHECKPOINT, 3, "upsert"), revision(1, pb.REVISION_KIND_BUILD, 5)],
    )


@pytest.fixture
def to(fake: FakeCatalog) -> Iterator[tuple[str, ...]]:
    with serving_in_thread(fake) as target:
        yield "--catalog", "shop", "--target", target


def test_a_feed_is_sent_with_its_images(fake: FakeCatalog, to: tuple[str, ...], tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 60)
    rows = [
        {"id": "new", "title": "Stool", "price": "9.50 EUR", "image_link": "a.png", "color": "red"},
        {"id": "half", "title": "b", "image_link": "a.png", "additional_image_link": "none.png"},
        {"id": "bad", "title": "c", "image_link": "none.png"},
        {"id": "p1", "title": "refused", "image_link": "a.png"},
    ]
    feed = write_feed(tmp_path / "feed.csv", rows)
    ran = sightline("upsert", feed, *to)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "shop: 2 products written, 2 rows skipped",
        "revision    2+2-0123456789ab",
        "products    5",
    ]
    for expected in (
        "row 3 (half): none.png: there is no such file",
        "row 4 (bad): none.png: there is no such file",
        "row 5 (p1): images[0]: the image is corrupt",
    ):
        assert expected in ran.stderr
    sent = fake.products["new"]
    assert sent.images[0].data == (tmp_path / "a.png").read_bytes()
    assert (sent.images[0].link, sent.product.price, dict(sent.product.attributes)) == (
        "a.png",
        "9.50 EUR",
        {"color": "red"},
    )
    strict = sightline("upsert", feed, *to, "--strict")
    assert strict.exit_code == 1
    assert "sightline: feed.csv, row" in strict.stderr


def test_ready_embeddings_are_sent_as_they_are(fake: FakeCatalog, to: tuple[str, ...]) -> None:
    lines = [
        {"id": "e1", "image_link": "1.jpg", "embedder": "tiny@0", "embeddings": [[0.6, 0.8]]},
        {"id": "e0", "image_link": "0.jpg", "embedder": "tiny@0", "embeddings": [[1, 0]]},
        {"id": "e2", "image_link": "2.jpg", "embeddings": [[0.6, 0.8]]},
        {"id": "e3", "image_link": "3.jpg", "embedder": "tiny@0", "embeddings": [[0.6, 0.8], [1, 0]]},
        {"id": "e4", "image_link": "4.jpg", "embedder": "tiny@0", "embeddings": [[float("nan"), 0]]},
    ]
    feed = "\n".join(json.dumps(line) for line in lines).encode()
    ran = sightline("upsert", "-", "--embedded", *to, stdin=feed)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("shop: 2 products written, 3 rows skipped\n")
    assert list(fake.products["e1"].images[0].embedding.values) == pytest.approx([0.6, 0.8])
    assert fake.products["e1"].images[0].link == "1.jpg"
    for expected in ("row 3 (e2)", "row 4 (e3): it has 1 images and 2 embeddings", "row 5 (e4)"):
        assert expected in ran.stderr


def test_prices_and_stock_are_updated(fake: FakeCatalog, to: tuple[str, ...]) -> None:
    lines = [
        {"id": "p0", "price": "79 EUR"},
        {"id": "none", "price": "1 EUR"},
        {"id": "p1", "availability": "sold out"},
    ]
    ran = sightline("update", "-", *to, stdin="\n".join(map(json.dumps, lines)).encode())
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("shop: ")
    assert "row 2 (none): there is no such product in the catalog" in ran.stderr
    assert (fake.products["p0"].product.price, fake.products["p0"].product.title) == ("79 EUR", "Chair")


def test_the_command_of_the_shell_has_the_client(to: tuple[str, ...]) -> None:
    command = [
        sys.executable,
        "-c",
        "from sightline_client.cli import main; main()",
        "catalog",
        "delete",
        "p0",
        "p1",
        *to,
    ]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(b"shop: 2 products deleted, 0 not found")
    assert ran.stderr == b""


def test_products_are_deleted(fake: FakeCatalog, to: tuple[str, ...]) -> None:
    ran = sightline("delete", "p0", "p1", "none", *to)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.startswith("shop: 2 products deleted, 1 not found\nrevision ")
    assert ran.stderr == "no product none\n"
    again = sightline("delete", "p0", *to)
    assert again.exit_code == 1
    assert sorted(fake.products) == ["p2"]


def test_revisions_are_listed_and_rolled_back(to: tuple[str, ...]) -> None:
    ran = sightline("revisions", *to)
    assert ran.stdout.splitlines() == [
        "* 2-0123456789ab  2023-11-14T22:13:22+00:00  checkpoint  3 products, 6 images  upsert  by shop",
        "* 1-0123456789ab  2023-11-14T22:13:21+00:00  build       5 products, 10 images  by shop",
        "2 operations since then are in the log",
    ]
    listed = json.loads(sightline("revisions", *to, "--json").stdout)
    assert [(each["number"], each["kind"]) for each in listed] == [(2, "checkpoint"), (1, "build")]
    wrong = sightline("rollback", "1-999999999999", *to)
    assert (wrong.exit_code, wrong.stderr) == (2, "sightline: revision 1 is 1-0123456789ab, not 1-999999999999\n")
    ran = sightline("rollback", "1-0123456789ab", *to)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "shop: the content is that of revision 1",
        "revision    3-0123456789ab",
        "products    5",
        "images      10",
    ]
    missing = sightline("rollback", "9", *to)
    assert missing.exit_code == 2, missing.stderr


def test_an_unknown_catalog_and_a_server_that_is_away_are_one_line(tmp_path: Path) -> None:
    unknown = status_of(
        grpc.StatusCode.NOT_FOUND, "there is no catalog 'shop'", error_details_pb2.ErrorInfo(reason="UNKNOWN_CATALOG")
    )
    with serving_in_thread(FakeCatalog(script=lambda method, call: unknown)) as target:
        ran = sightline("delete", "p0", "--catalog", "shop", "--target", target)
    assert ran.exit_code == 2
    assert ran.stderr == "sightline: there is no catalog 'shop' (NOT_FOUND, UNKNOWN_CATALOG)\n"
    away = sightline("revisions", "--catalog", "shop", "--target", f"unix:{tmp_path}/none")
    assert away.exit_code == 1
    assert away.stderr.count("\n") == 1, away.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("delete", "p0", "--catalog", "shop", "--tls"),
            "--insecure, --token-file and the options that begin with --tls",
        ),
        (("revisions", "--catalog", "shop", "--target", "shop.example:1"), "would not be encrypted"),
        (("revisions", "--catalog", "shop", "--target", "nonsense"), "the port is missing"),
        (
            ("revisions", "--catalog", "a/b", "--target", "127.0.0.1:1"),
            "sightline: catalog must not have a slash, not 'a/b'\n",
        ),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], expected: str) -> None:
    ran = sightline(*arguments)
    assert ran.exit_code == 2
    assert expected in ran.stderr


def test_without_the_client_the_option_says_so() -> None:
    result = CliRunner().invoke(app, ["revisions", "--catalog", "shop", "--target", "127.0.0.1:1"])
    assert result.exit_code == 2
    assert "--target needs the command `sightline`" in result.stderr
