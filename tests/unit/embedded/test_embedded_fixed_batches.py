"""Batches on a GPU: padded to the size of a session, equal answers, nothing left in another session's memory."""

import importlib
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_models import build_repository, expected_embeddings

MODULES = ("onnx_sessions", "fixed_batches", "onnx_runtime", "model_cores")
LARGEST = 10


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the backend that decide how a batch goes through a model."""
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with resources.as_file(resources.files("sightline_server.embedded") / "backend") as folder:
        monkeypatch.syspath_prepend(folder)
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
        for name in MODULES:
            del sys.modules[name]


class Recorder:
    """A session that keeps what it was given and answers with its input."""

    def __init__(self, shape: list[Any]) -> None:
        self.shape = shape
        self.batches: list[np.ndarray[Any, Any]] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="CROPS", type="tensor(uint8)", shape=self.shape)]

    def run(self, outputs: Any, feed: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        self.batches.append(feed["CROPS"].copy())
        return [feed["CROPS"]]


class Opened:
    """Fixed batches over recorders, which are forgotten to have been run at the start."""

    def __init__(self, module: ModuleType, largest: int, shape: list[Any] | None = None) -> None:
        self.recorders: list[Recorder] = []
        self.shape = shape or ["batch", 4, 4, 3]
        self.batches = module.FixedBatches(self.open, largest)
        self.at_start = [len(batch) for recorder in self.recorders for batch in recorder.batches]
        for recorder in self.recorders:
            recorder.batches.clear()

    def open(self) -> Recorder:
        self.recorders.append(Recorder(self.shape))
        return self.recorders[-1]

    @property
    def sizes(self) -> list[int]:
        """Sizes of the batches that ran since the start, in ascending order."""
        return sorted(len(batch) for recorder in self.recorders for batch in recorder.batches)


def crops(count: int, side: int = 4) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(1, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, (1,)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (100, (1, 2, 4, 8, 16, 32, 64, 100))],
)
def test_batch_sizes_end_with_the_largest(backend: SimpleNamespace, largest: int, sizes: tuple[int, ...]) -> None:
    assert backend.fixed_batches.batch_sizes(largest) == sizes


def test_a_session_of_each_size_runs_once_at_the_start(backend: SimpleNamespace) -> None:
    assert Opened(backend.fixed_batches, LARGEST).at_start == [10, 8, 4, 2, 1]


def test_a_model_with_an_open_dimension_is_not_run_at_the_start(backend: SimpleNamespace) -> None:
    assert Opened(backend.fixed_batches, LARGEST, ["batch", "height", "width", 3]).at_start == []


@pytest.mark.parametrize("count", range(1, LARGEST + 1))
def test_a_batch_is_padded_to_the_next_size_and_its_answer_cut(backend: SimpleNamespace, count: int) -> None:
    opened = Opened(backend.fixed_batches, LARGEST)
    (answer,) = opened.batches.run(None, {"CROPS": crops(count)})
    np.testing.assert_array_equal(answer, crops(count))
    assert opened.sizes == [min(size for size in (1, 2, 4, 8, 10) if size >= count)]


def test_every_session_gets_batches_of_one_size_only(backend: SimpleNamespace) -> None:
    opened = Opened(backend.fixed_batches, LARGEST)
    for count in (3, 9, 1, 10, 5, 4, 7, 2, 6, 8, 3):
        opened.batches.run(None, {"CROPS": crops(count)})
    assert all(len({len(batch) for batch in recorder.batches}) <= 1 for recorder in opened.recorders)


def test_a_batch_above_the_largest_goes_in_parts(backend: SimpleNamespace) -> None:
    opened = Opened(backend.fixed_batches, LARGEST)
    (answer,) = opened.batches.run(None, {"CROPS": crops(23)})
    np.testing.assert_array_equal(answer, crops(23))
    assert opened.sizes == [4, 10, 10]


def test_a_blank_batch_overwrites_the_memory_of_all_smaller_sessions(backend: SimpleNamespace) -> None:
    opened = Opened(backend.fixed_batches, LARGEST)
    opened.batches.run(None, {"CROPS": np.zeros((7, 4, 4, 3), np.uint8)})
    assert opened.sizes == [1, 2, 4, 8]
    assert not any(batch.any() for recorder in opened.recorders for batch in recorder.batches)


def test_a_batch_that_begins_black_runs_once(backend: SimpleNamespace) -> None:
    opened = Opened(backend.fixed_batches, LARGEST)
    some = crops(5)
    some[:4] = 0
    opened.batches.run(None, {"CROPS": some})
    assert opened.sizes == [8]


def test_a_model_on_a_gpu_gives_the_answers_of_a_single_session(
    backend: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backend.onnx_sessions, "providers", lambda kind, device, config: ["CPUExecutionProvider"])
    path = build_repository(tmp_path) / "embedder" / "1" / "model.onnx"
    model = backend.onnx_sessions.Sessions(str(path), {"max_batch_size": 8}, "GPU", "0")
    assert isinstance(model.joined, backend.fixed_batches.FixedBatches)
    for count in range(1, 9):
        (rows,) = model.submit([crops(count, 32)]).result(10.0)
        np.testing.assert_allclose(rows, expected_embeddings(crops(count, 32)), atol=1e-5)


@pytest.mark.parametrize(("stated", "search"), [(None, "HEURISTIC"), ("0", "EXHAUSTIVE"), ("2", "DEFAULT")])
def test_the_stated_search_of_algorithms_reaches_the_provider(
    backend: SimpleNamespace, stated: str | None, search: str
) -> None:
    config = {"parameters": {"cudnn_conv_algo_search": {"string_value": stated}}} if stated else {}
    (_, options), cpu = backend.onnx_sessions.providers("GPU", "1", config)
    assert (options["device_id"], options["cudnn_conv_algo_search"]) == (1, search)
    assert cpu == "CPUExecutionProvider"


def test_a_model_without_batches_has_one_session(
    backend: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backend.onnx_sessions, "providers", lambda kind, device, config: ["CPUExecutionProvider"])
    path = build_repository(tmp_path) / "embedder" / "1" / "model.onnx"
    model = backend.onnx_sessions.Sessions(str(path), {"max_batch_size": 0}, "GPU", "0")
    assert not isinstance(model.joined, backend.fixed_batches.FixedBatches)
