"""The query file as spreadsheets write it, in other encodings, with other delimiters, and broken."""

from pathlib import Path

import pytest
import typer

from sightline_client.cli.query_checks import checked_queries, report_unknown_products
from sightline_client.queries import Query, QueryFileError, read_queries, read_query_file
from tests.support.catalogs import row, unit_vectors, write_catalog

TEXT = "image,product_id\nstühl.jpg,k1\n"


@pytest.mark.parametrize(
    ("data", "encoding", "assumed"),
    [
        (TEXT.encode(), "utf-8", False),
        (TEXT.encode("utf-8-sig"), "utf-8-sig", False),
        (TEXT.encode("cp1252"), "cp1252", True),
        (TEXT.encode("latin-1"), "cp1252", True),
        (TEXT.encode("utf-16"), "utf-16", False),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16", False),
        (TEXT.encode("utf-16-le"), "utf-16-le", False),
        (TEXT.encode("utf-16-be"), "utf-16-be", False),
        (TEXT.encode("utf-32"), "utf-32", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_encoding_is_found(tmp_path: Path, data: bytes, encoding: str, assumed: bool) -> None:
    (tmp_path / "queries.csv").write_bytes(data)
    file = read_query_file(tmp_path / "queries.csv")
    assert file.queries == (Query(tmp_path / "stühl.jpg", "k1"),)
    assert (file.encoding, file.assumed) == (encoding, assumed)


def test_a_named_encoding_counts(tmp_path: Path) -> None:
    (tmp_path / "queries.csv").write_bytes(TEXT.encode("mac-roman"))
    assert read_queries(tmp_path / "queries.csv", "mac-roman")[0].image.name == "stühl.jpg"
    with pytest.raises(QueryFileError, match="unknown encoding 'klingon'"):
        read_queries(tmp_path / "queries.csv", "klingon")
    with pytest.raises(QueryFileError, match="not utf-8 text at byte 19; name its encoding"):
        read_queries(tmp_path / "queries.csv", "utf-8")


@pytest.mark.parametrize(
    "text",
    [
        'image;product_id;box\na.jpg;k1;"0,0,1,1"\n',
        "image;product_id;box\r\na.jpg;k1;0,0,1,1\r\n",
        "image\tproduct_id\tbox\na.jpg\tk1\t0,0,1,1\n",
        "sep=;\nimage;product_id;box\na.jpg;k1;0,0,1,1\n",
        'Image , PRODUCT_ID,box,remark\na.jpg,k1,"0,0,1,1",a\n',
        'box,product_id,image\n"0,0,1,1",k1,a.jpg',
    ],
)
def test_tables_of_spreadsheets_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "queries.csv").write_text(text)
    (query,) = read_queries(tmp_path / "queries.csv")
    assert (query.image.name, query.product_id) == ("a.jpg", "k1")
    assert query.box is not None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no column image, product_id"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no column|not UTF-8"),
        (b"\xff\xfea", "not utf-16 text"),
        (b"image,product_id\n\x81,a\n", "not UTF-8 or cp1252 text at byte 17"),
        (b'image,product_id\n"a.jpg,k1\nb.jpg,k2\n', "not a CSV file"),
        (b"image,product_id\na.jpg,k1,\n" + b"x" * 140_000, "not a CSV file|line 3"),
        (b"image,product_id\na\x00.jpg,k1\n", "line 2"),
        (b'image,product_id,box\na.jpg,k1,"0,0,nan,1"\n', "line 2.*not finite"),
    ],
    ids=["empty", "png", "cut-utf-16", "undefined-byte", "open-quote", "long-field", "null", "nan"],
)
def test_a_file_that_cannot_be_used_is_one_message(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "queries.csv").write_bytes(data)
    with pytest.raises(QueryFileError, match=problem):
        read_queries(tmp_path / "queries.csv")


def test_missing_images_are_named_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{number}.jpg,k{number}\n" for number in (*range(9), 0))
    (tmp_path / "queries.csv").write_text("image,product_id\n" + rows)
    (tmp_path / "3.jpg").touch()
    (tmp_path / "4.jpg").mkdir()
    with pytest.raises(typer.BadParameter) as caught:
        checked_queries(tmp_path / "queries.csv", None, allow_missing=False)
    assert "8 of 9 images of" in caught.value.message
    assert "0.jpg" in caught.value.message
    assert "and 3 more" in caught.value.message
    assert len(checked_queries(tmp_path / "queries.csv", None, allow_missing=True)) == 10
    assert "8 of 9 images of" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_is_a_missing_image(tmp_path: Path) -> None:
    path, name = tmp_path / "queries.csv", "a" * 300
    path.write_text(f"image,product_id\n{name},1\n")
    with pytest.raises(typer.BadParameter, match="1 of 1 images"):
        checked_queries(path, None, allow_missing=False)
    assert len(checked_queries(path, None, allow_missing=True)) == 1


def test_a_guessed_encoding_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries.csv").write_bytes(TEXT.encode("cp1252"))
    (tmp_path / "stühl.jpg").touch()
    checked_queries(tmp_path / "queries.csv", None, allow_missing=False)
    assert "it is read as cp1252 (or name it: --encoding)" in capsys.readouterr().err


def test_products_that_the_catalog_lacks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = tmp_path / "shop"
    write_catalog(catalog, [row(product_id, unit_vectors(1)) for product_id in ("p0", "p1", "p\n2")])
    queries = [Query(tmp_path / "a.jpg", product_id) for product_id in ("p0", "p\n2", "x\x1b[31m", "p3", "p3")]
    assert report_unknown_products(queries, catalog) == 2
    assert capsys.readouterr().err == ("sightline: 2 of 4 product ids are not in the catalog: x\\x1b[31m, p3\n")


def test_a_catalog_that_cannot_be_read_ends_the_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        report_unknown_products([Query(tmp_path / "a.jpg", "p0")], tmp_path / "none")
    assert caught.value.exit_code in (1, 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no catalog at" in error
