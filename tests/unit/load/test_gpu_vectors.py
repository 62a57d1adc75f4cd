"""Collections in chunks, the exact answer next to them, filters, and the CPU mode of the search's script."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest

from load_tests.gpu import faiss_search, results, vectors
from load_tests.gpu.filters import filters
from load_tests.gpu.models import cpu_ceiling
from load_tests.gpu.vectors import DeviceChunks, ExactNearest, HostChunks, recall, unit_queries


def test_chunks_are_unit_vectors_of_one_collection_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHUNK_ROWS", 300)
    made = [np.concatenate(list(HostChunks(1000, 16, seed=1))) for _ in range(2)]
    assert made[0].shape == (1000, 16)
    assert np.array_equal(made[0], made[1])
    assert np.allclose(np.linalg.norm(made[0], axis=1), 1.0, atol=1e-5)
    assert len(np.unique(made[0][:, 0])) > 990


def test_the_exact_answer_over_chunks_is_that_over_all() -> None:
    everything, queries = unit_queries(500, 8, seed=1), unit_queries(7, 8)
    nearest = ExactNearest(queries)
    for start in range(0, 500, 90):
        nearest.see(queries @ everything[start : start + 90].T, start)
    scores = queries @ everything.T
    assert np.array_equal(nearest.rows, np.argsort(-scores, axis=1)[:, :10])


def test_recall_counts_what_was_found_in_any_order() -> None:
    exact = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall(np.array([[4, 3, 2, 1], [5, 6, 0, -1]]), exact) == 0.75


def test_a_chunk_is_handed_over_by_its_address() -> None:
    rows = unit_queries(20, 8)
    chunk = type("Chunk", (), {"__len__": lambda self: 20, "data": SimpleNamespace(ptr=rows.ctypes.data)})()
    index = faiss.IndexFlatIP(8)
    DeviceChunks.add(index, chunk)
    assert np.array_equal(index.search(rows, 1)[1][:, 0], np.arange(20))


def test_the_cpus_indexes_apply_filters() -> None:
    assert set(filters(None).values()) == {"applied, the same answer as the CPU"}


def test_an_index_that_ignores_its_filter_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(faiss.IndexFlatIP):
        def search(self, x: Any, k: int, *, params: object = None, D: object = None, I: object = None) -> Any:  # noqa: N803, E741
            return super().search(x, k)

    made = {"deaf": lambda: (Deaf(64), faiss.SearchParameters()), "broken": lambda: faiss.read_index("/nowhere")}
    monkeypatch.setattr("load_tests.gpu.filters.kinds", lambda resources: made)
    found = filters(None)
    assert found["deaf"] == "ignored"
    assert found["broken"].startswith("refused: ")


def test_the_cpu_mode_measures_a_small_collection_and_says_that_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cpu", "--rows", "2000", "--dimension", "16", "--batches", "1", "8", "--seconds", "0.02"]
    monkeypatch.setattr("sys.argv", ["faiss_search", *options, "--out", str(tmp_path)])
    small = cpu_ceiling(64)
    monkeypatch.setattr(faiss_search, "cpu_ceiling", lambda: small)
    assert faiss_search.main() == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed == json.loads((tmp_path / "faiss_search.json").read_text())
    assert printed["device"] == "cpu"
    assert printed["searches"][0]["recall_at_10"] == 1.0
    assert [reading["batch"] for reading in printed["searches"][0]["batches"]] == [1, 8]
    assert all(0 < reading["p50_ms"] <= reading["p99_ms"] for reading in printed["searches"][0]["batches"])


@pytest.mark.parametrize(("codes", "exit_code"), [(["a=0"], 0), (["a=0", "b=124"], 1), ([], 1)])
def test_a_run_is_its_steps_and_says_which_failed(
    codes: list[str],
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"script": "a", "device": "cpu", "date": "", "hardware": {}, "x": 1}))
    monkeypatch.setattr("sys.argv", ["results", "--cpu", "--out", str(tmp_path), *codes])
    assert results.main() == exit_code
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["failed"] == {name: int(code) for name, code in (c.split("=") for c in codes) if code != "0"}
    assert record.get("a") == ({"x": 1} if codes else None)
