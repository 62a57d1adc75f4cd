"""Parquet feeds: nested columns are read, and values that a small file repeats are measured before they are made."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline_server.errors import SightlineError
from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.feeds import parquet_sizes

LONG = "T" * 3_000_000


def feed(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), folder / "feed.parquet")
    return folder / "feed.parquet"


@pytest.mark.parametrize("store_schema", [True, False])
def test_nested_columns_are_read(tmp_path: Path, store_schema: bool) -> None:
    table = pa.table(
        {
            "id": pa.array(["a", "b"]),
            "image_link": pa.array([["a.jpg"], ["b.jpg", "c.jpg"]]),
            "additional_image_link": pa.array([[{"url": "d.jpg"}], []]),
            "price": pa.array([{"value": "15.00", "currency": "EUR"}, None]),
            "sizes": pa.array([[("s", "1"), ("l", None)], []], pa.map_(pa.string(), pa.string())),
            "weight": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "bytes": pa.array([b"x", None]),
            "numbers": pa.array([[1, 2], None]),
        }
    )
    pq.write_table(table, tmp_path / "feed.parquet", store_schema=store_schema)
    first, second = [row for row in read_feed(tmp_path / "feed.parquet") if isinstance(row, FeedRow)]
    assert (first.images, second.images) == (("a.jpg", "d.jpg"), ("b.jpg", "c.jpg"))
    assert first.product.price == "15.00 EUR"
    assert first.product.attributes["weight"] == "1.50"
    assert first.product.attributes["bytes"] == "x"
    assert first.product.attributes["numbers"] == "1, 2"
    assert "s" in first.product.attributes["sizes"]
    assert second.product.attributes == {}


@pytest.mark.parametrize("kind", ["text", "list", "struct", "map", "list of structs"])
def test_long_repeated_value_costs_its_rows_only(tmp_path: Path, kind: str) -> None:
    long, short = {"a": LONG}, {"a": "x"}
    values = {
        "text": [LONG, *["x"] * 3, *[LONG] * 20],
        "list": [[LONG, LONG], *[["x"]] * 3, *[[LONG] * 2] * 20],
        "struct": [{"a": LONG, "b": LONG}, *[{"a": "x", "b": "x"}] * 3, *[{"a": LONG, "b": LONG}] * 20],
        "map": pa.array([[("a", LONG), ("b", LONG)], *[[("a", "x")]] * 3, *[[("a", LONG), ("b", LONG)]] * 20],
                        pa.map_(pa.string(), pa.string())),
        "list of structs": [[long, long], *[[short]] * 3, *[[long, long]] * 20],
    }[kind]  # fmt: skip
    ids = [f"p{number}" for number in range(24)]
    rows = list(read_feed(feed(tmp_path, id=ids, image_link=["a.jpg"] * 24, x=values)))
    assert [row.product.id for row in rows if isinstance(row, FeedRow)] == ["p1", "p2", "p3"]
    assert {row.text for row in rows if isinstance(row, Problem)} == {"is longer than 1,048,576 characters"}


def test_columns_with_absurd_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = pa.array([bytes(5000)], pa.binary(5000))
    with pytest.raises(SightlineError, match="a column of values of 5000 bytes"):
        list(read_feed(feed(tmp_path, id=["a"], image_link=["a.jpg"], x=fixed)))
    monkeypatch.setattr(parquet_sizes, "FREE_LIST_VALUES", 100)
    with pytest.raises(SightlineError, match="133 values in the lists of 1 rows"):
        list(read_feed(feed(tmp_path, id=["a"], image_link=["a.jpg"], x=pa.array([[True] * 133]))))
    assert len(list(read_feed(feed(tmp_path, id=["a"], image_link=["a.jpg"], x=pa.array([[True] * 132]))))) == 1
