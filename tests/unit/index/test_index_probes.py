"""The probes of a revision: the same ones each time, none of them a vector of the catalog, with the exact answers."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from sightline_server.domain.probes import Probes
from sightline_server.index import probes as probes_module
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.probes import (
    ANSWERED,
    MOST,
    PART_ROWS,
    moved,
    nearest_vectors,
    probes_in,
    probes_of,
    table_of,
)
from sightline_server.index.schema import CatalogRow
from sightline_server.index.shared import open_shared, share_catalog
from sightline_server.settings import Settings
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog

FEW = 40


def named(count: int) -> pa.ChunkedArray:
    """Ids of `count` products."""
    return pa.chunked_array([[f"p{number:05}" for number in range(count)]])


def probes(vectors: NDArray[np.float16], revision: str = "1-abc", **given: Any) -> Probes:
    """The probes of a catalog with one image a product."""
    return probes_of(revision, vectors, np.arange(len(vectors), dtype=np.int32), named(len(vectors)), **given)


def stored(count: int, dimension: int = 32) -> NDArray[np.float16]:
    return unit_vectors(count, 1, dimension).astype(np.float16)


def test_one_revision_has_the_same_probes_each_time_and_another_has_others() -> None:
    vectors = stored(2000)
    first, again, other = probes(vectors), probes(vectors), probes(vectors, "2-def")
    assert len(first) == MOST
    assert np.array_equal(first.queries, again.queries)
    assert np.array_equal(first.answers, again.answers)
    assert not np.allclose(first.queries, other.queries)


def test_searches_go_first_before_each_part_of_the_work() -> None:
    waits: list[None] = []
    found = probes(stored(2 * PART_ROWS + 1), most=30, pause=lambda: waits.append(None))
    assert len(found) == 30
    assert len(waits) == 3 + -(-30 // ANSWERED)


def test_no_probe_finds_itself_trivially() -> None:
    vectors = stored(2000, 256)
    similarities = probes(vectors).queries @ vectors.astype(np.float32).T
    assert np.all((similarities.max(axis=1) > 0.8) & (similarities.max(axis=1) < 0.95))


@pytest.mark.parametrize("count", [1, 3, FEW, 5000, 40_000])
def test_the_nearest_vectors_are_those_of_a_matrix_product(count: int) -> None:
    vectors = stored(count)
    queries = moved(vectors, "1-abc")
    truth = nearest_vectors(queries, vectors)
    unit = vectors.astype(np.float32) / np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    every = queries @ unit.T
    expected = -np.sort(-every, axis=1)[:, : truth.rows.shape[1]]
    assert np.allclose(truth.similarities, expected, atol=1e-5)
    assert np.allclose(np.take_along_axis(every, truth.rows, 1), expected, atol=1e-5)
    assert all(len(set(rows)) == len(rows) for rows in truth.rows.tolist())


def test_vectors_that_come_nearer_and_nearer_are_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes_module, "PART_ROWS", 50)
    vectors = stored(1000)
    query = vectors[:1].astype(np.float32)
    vectors = vectors[np.argsort(vectors.astype(np.float32) @ query[0])]
    truth = nearest_vectors(query, vectors, 10)
    assert truth.rows[0].tolist() == list(range(999, 989, -1))


def test_large_catalogs_have_fewer_probes_and_never_fewer_than_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = stored(1000)
    for work, expected in ((100 * vectors.size, 100), (1, 16)):
        monkeypatch.setattr(probes_module, "WORK", work)
        assert len(moved(vectors, "1-abc")) == expected


def test_a_product_with_many_images_counts_once() -> None:
    vectors = np.concatenate([stored(FEW), stored(FEW), stored(FEW)])
    owners = np.tile(np.arange(FEW, dtype=np.int32), 3)
    found = probes_of("1-abc", vectors, owners, named(FEW))
    assert len(found) == 3 * FEW
    for answer in found.answers.tolist():
        assert len({product for product in answer if product >= 0}) == sum(product >= 0 for product in answer)
        assert sum(product >= 0 for product in answer) >= 10


def test_products_that_share_an_image_may_stand_for_each_other() -> None:
    vectors = np.repeat(stored(FEW), 4, axis=0)
    found = probes(vectors)
    nearest = np.argsort(-(found.queries @ vectors.astype(np.float32).T), axis=1, kind="stable")
    # Ten are two whole images and half of a third one, whose four products are all accepted.
    assert found.recall(range(len(found)), [[*rows[:8], *rows[10:12]] for rows in nearest.tolist()]) == 1.0
    assert found.recall(range(len(found)), [[*rows[:8], *rows[12:14]] for rows in nearest.tolist()]) == 0.8


def test_a_catalog_of_one_image_has_no_probes_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert len(probes(np.repeat(stored(1), 300, axis=0))) == 0
    assert "live recall is not measured" in caplog.text


def test_a_catalog_with_few_products_is_measured_on_all_of_them() -> None:
    found = probes(stored(3))
    assert (len(found), found.k) == (3, 3)
    assert found.recall([0], [[0, 1, 2]]) == 1.0
    assert found.recall([0, 1], [[0, 1], []]) == pytest.approx(2 / 6)


def test_rows_beyond_the_tenth_do_not_count() -> None:
    found = Probes(np.zeros((1, 2), np.float32), np.arange(12, dtype=np.int32)[np.newaxis], 10)
    assert found.recall([0], [[*range(100, 105), *range(12)]]) == 0.5


@pytest.mark.parametrize("count", [300, 1])
def test_a_table_gives_back_the_probes(count: int) -> None:
    made = probes(stored(count))
    again = probes_in(table_of(made))
    assert np.array_equal(again.queries, made.queries)
    assert np.array_equal(again.answers, made.answers)
    assert again.k == made.k


def test_a_table_of_no_probes_gives_none_back() -> None:
    assert len(probes_in(table_of(probes(np.repeat(stored(1), 300, axis=0))))) == 0


async def test_an_exact_index_finds_every_answer_alone_and_shared(tmp_path: Path) -> None:
    rows: list[CatalogRow] = [
        row(f"p{(number * 7919) % 100_000:05}", unit_vectors(1 + number % 4, number)) for number in range(200)
    ]
    write_catalog(tmp_path / "shop", rows)
    own = await open_snapshot(tmp_path / "shop", "shop", SPEC, DeviceThread())
    catalog = await share_catalog(tmp_path / "shop", "shop", SPEC)
    shared = await open_shared(catalog, DeviceThread(), sharers=1)
    assert np.array_equal(own.probes.queries, shared.probes.queries)
    for snapshot in (own, shared):
        found = await snapshot.nearest(snapshot.probes.queries, 10)
        every = range(len(snapshot.probes))
        assert len(every) > 200
        assert snapshot.probes.recall(every, [[each.row for each in near] for near in found]) == 1.0
        await snapshot.close()
    catalog.close()


def found_by(index: Any, probes: Probes, *, rounded: bool = False) -> float:
    """The recall of a FAISS index with one image a product; `rounded` queries are those of a GPU."""
    queries = probes.queries.astype(np.float16).astype(np.float32) if rounded else probes.queries
    _, rows = index.search(queries, probes.k)
    return probes.recall(range(len(probes)), rows.tolist())


@pytest.mark.parametrize("spread", [0.3, 0.02])
def test_storage_in_float16_is_right_and_an_index_that_reads_one_list_is_not(spread: float) -> None:
    dimension, count = 64, 6000
    vectors = unit_vectors(60, 1, dimension)[np.arange(count) % 60] + spread * unit_vectors(count, 2, dimension)
    stored = vectors.astype(np.float16)
    stored = (stored / np.linalg.norm(stored.astype(np.float32), axis=1, keepdims=True)).astype(np.float16)
    unit = stored.astype(np.float32) / np.linalg.norm(stored.astype(np.float32), axis=1, keepdims=True)
    half = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    narrow = faiss.index_factory(dimension, "IVF150,Flat", faiss.METRIC_INNER_PRODUCT)
    for index in (half, narrow):
        index.train(unit)
        index.add(unit)
    assert found_by(half, probes(stored), rounded=True) > 0.98
    assert found_by(narrow, probes(stored)) < 0.95


@pytest.mark.parametrize("every_s", [-1.0, 601.0, float("nan")])
def test_an_interval_that_the_alerts_could_not_follow_is_refused(every_s: float) -> None:
    with pytest.raises(ValidationError, match="recall_every_s"):
        Settings.model_validate({"index": {"recall_every_s": every_s}})
