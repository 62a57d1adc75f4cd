"""The digest of rows: independent of their order and of batches, changed by every value."""

import hashlib
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.catalog import digest as digest_module
from sightline_server.catalog.digest import MODULUS, SumDigest, hexadecimal, row_hashes, total
from sightline_server.index.schema import CatalogRow, Price, to_table
from tests.support.catalogs import DIMENSION, row, unit_vectors

ROWS = [
    row("a", unit_vectors(1, 1), title="first", brand="x"),
    row("b", unit_vectors(3, 2), title="", gtin="12"),
    CatalogRow(row("é", unit_vectors(1)).product, Price(Decimal("3.50"), "EUR"), ("漢.jpg",), unit_vectors(1, 3)),
    row("d", unit_vectors(2, 4), attributes={"size": "1", "color": "red"}),
]


def digest(rows: list[CatalogRow]) -> int:
    return total(to_table(rows, DIMENSION))


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(len(ROWS))), cut=st.integers(0, len(ROWS)))
def test_order_and_batches_do_not_change_the_digest(order: list[int], cut: int) -> None:
    table = to_table([ROWS[place] for place in order], DIMENSION)
    found = SumDigest()
    for part in (table.slice(0, cut), table.slice(cut)):
        found.update(part)
    assert found.value == digest(ROWS)


def test_a_row_can_be_taken_out_and_put_in() -> None:
    old, new = [ROWS[1]], [row("b", unit_vectors(3, 2), title="", gtin="13")]
    assert (digest(ROWS) - digest(old) + digest(new)) % MODULUS == digest([ROWS[0], *new, *ROWS[2:]])


def test_every_column_counts() -> None:
    table = to_table(ROWS, DIMENSION)
    for place, field in enumerate(table.schema):
        values = table[field.name].to_pylist()
        changed = {
            pa.types.is_string(field.type): "other",
            pa.types.is_decimal(field.type): Decimal("7"),
            field.name == "images": ["other.jpg"],
            field.name == "embeddings": unit_vectors(1, 9).astype(np.float16).tolist(),
        }[True]
        other = table.set_column(place, field, pa.array([changed, *values[1:]], field.type))
        assert total(other) != total(table), field.name


def test_texts_do_not_run_into_each_other() -> None:
    first = digest([row("a", unit_vectors(1), title="xy", brand="z")])
    second = digest([row("a", unit_vectors(1), title="x", brand="yz")])
    missing = digest([row("a", unit_vectors(1), brand="xyz")])
    assert len({first, second, missing}) == 3


def test_links_do_not_run_into_each_other() -> None:
    product = row("a", unit_vectors(2)).product
    first = CatalogRow(product, None, ("ab", "c"), unit_vectors(2))
    second = CatalogRow(product, None, ("a", "bc"), unit_vectors(2))
    assert digest([first]) != digest([second])


def test_no_rows_have_the_digest_zero() -> None:
    assert total(to_table(ROWS, DIMENSION).slice(0, 0)) == 0


def test_the_digest_of_known_rows_is_that_of_earlier_releases() -> None:
    assert hexadecimal(digest(ROWS)) == "093d44e194f2c4f327e76b038f5195122ac287af101ab52fe3efbd52dbb4bbf3"


@pytest.mark.parametrize("part_bytes", [1, 200, 4 << 20])
def test_rows_are_hashed_as_their_columns_one_after_the_other(part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_module, "PART_BYTES", part_bytes)
    texts = pa.array([None, "", "é", "xy"], pa.string())
    links = pa.array([["a", ""], [], ["漢"], ["b"]], pa.list_(pa.string()))
    vectors = pa.array([[], [[1.0, 2.0]], [[0.5, 0.25]] * 2, []], pa.list_(pa.list_(pa.float16(), 2)))
    batch = pa.RecordBatch.from_arrays([texts, links, vectors, texts], ["text", "links", "vectors", "other"])
    for start in range(4):
        part = batch.slice(start)
        assert list(row_hashes(part)) == [plain_hash(row) for row in part.to_pylist()]
        assert total(part) == sum(map(plain_hash, part.to_pylist())) % MODULUS


def plain_hash(row: dict[str, Any]) -> int:
    """The hash of a row as the format says: texts first, each list with its number."""
    texts = [row["text"], row["other"]]
    parts = [size(text) for text in texts] + [(text or "").encode() for text in texts]
    parts += [number(len(row["links"])), *map(size, row["links"]), *(link.encode() for link in row["links"])]
    parts += [number(len(row["vectors"])), np.array(row["vectors"], "<f2").tobytes()]
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big")


def size(text: str | None) -> bytes:
    return number(-1 if text is None else len(text.encode()))


def number(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)
