"""Our `onnxruntime` backend with a substitute for Triton's module: batching of requests, providers, dims."""

import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.support.tiny_models import build_repository, expected_embeddings


@dataclass
class Tensor:
    """A tensor as Triton has it: `as_numpy` copies, DLPack gives the memory that is shared with Triton."""

    name: str
    array: NDArray[Any]

    def as_numpy(self) -> NDArray[Any]:
        return self.array.copy()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@dataclass
class Response:
    output_tensors: list[Tensor]
    error: object | None = None


@dataclass
class Config:
    """The argument that Triton gives to `auto_complete_config`."""

    max_batch_size: int
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {"max_batch_size": self.max_batch_size}

    def add_input(self, entry: dict[str, Any]) -> None:
        self.inputs.append(entry)

    def add_output(self, entry: dict[str, Any]) -> None:
        self.outputs.append(entry)


def pb_utils(model_dir: Path) -> ModuleType:
    """The part of `triton_python_backend_utils` that the backend uses."""
    module = ModuleType("triton_python_backend_utils")
    said: list[str] = []
    module.__dict__.update(
        Tensor=Tensor,
        InferenceResponse=Response,
        TritonError=str,
        TritonModelException=RuntimeError,
        TRITONSERVER_RESPONSE_COMPLETE_FINAL="final",
        Logger=SimpleNamespace(log_info=lambda text: None, log_error=said.append),
        said=said,
        get_model_dir=lambda: str(model_dir),
        get_input_tensor_by_name=lambda request, name: request[name],
    )
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return build_repository(tmp_path)


@pytest.fixture
def backend(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", pb_utils(repository / "detector" / "1"))
    with resources.as_file(resources.files("sightline_server.embedded") / "backend") as folder:
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delenv("SIGHTLINE_CORES", raising=False)
        for name in ("onnx_sessions", "bf16_sessions", "onnx_runtime", "model_cores"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        spec = importlib.util.spec_from_file_location("backend_model", folder / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def loaded(backend: ModuleType, folder: Path, kind: str = "CPU", threads: str = "1") -> Any:
    """An instance of the backend on the model in `folder`."""
    model = backend.TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps({"parameters": {"intra_op_thread_count": {"string_value": threads}}}),
            "model_instance_kind": kind,
            "model_instance_device_id": "0",
            "model_repository": str(folder),
            "model_version": "1",
            "model_name": folder.name,
        }
    )
    return model


class Request(dict[str, Tensor]):
    """Its tensors by name, and what was sent for it."""

    def __init__(self, tensors: dict[str, Tensor], timeout_us: int = 0) -> None:
        super().__init__(tensors)
        self.sent: SimpleQueue[tuple[Response, str]] = SimpleQueue()
        self.timeout_us = timeout_us

    def timeout(self) -> int:
        return self.timeout_us

    def get_response_sender(self) -> SimpleNamespace:
        return SimpleNamespace(send=lambda response, flags: self.sent.put((response, flags)))

    def answer(self) -> Response:
        """The one response that was sent, and it was the last."""
        response, flags = self.sent.get(timeout=10.0)
        assert flags == "final"
        assert self.sent.empty()
        return response


def request(count: int, seed: int, timeout_us: int = 0) -> Request:
    crops = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    return Request({"CROPS": Tensor("CROPS", crops)}, timeout_us)


def answers(model: Any, requests: list[Request]) -> list[Response]:
    """The answer to each request."""
    assert model.execute(requests) == [None] * len(requests)
    return [asked.answer() for asked in requests]


def test_requests_of_one_call_run_together_and_each_gets_its_own(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")
    runs: list[int] = []
    submit = model.sessions.submit

    def noted(arrays: Any, limit: Any) -> Any:
        runs.append(len(arrays[0]))
        return submit(arrays, limit)

    model.sessions.submit = noted
    requests = [request(count, seed=count) for count in (1, 3, 2)]
    expected = [expected_embeddings(asked["CROPS"].array) for asked in requests]
    for embeddings, response in zip(expected, answers(model, requests), strict=True):
        [tensor] = response.output_tensors
        assert tensor.name == "EMBEDDINGS"
        np.testing.assert_allclose(tensor.array, embeddings, atol=1e-6)
    assert runs == [6]


def test_inputs_are_overwritten_before_their_request_is_answered(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")
    requests = [request(2, seed=1), request(1, seed=2)]
    assert all(asked["CROPS"].array.any() for asked in requests)
    answers(model, requests)
    assert not any(asked["CROPS"].array.any() for asked in requests)


def test_requests_of_different_shapes_run_apart_and_stay_in_order(backend: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "maxima"
    (folder / "1").mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["X"], ["Y"], axes=[1], keepdims=1)],
        "maxima",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["B", "W"])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["B", 1])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "1/model.onnx"
    )
    model = loaded(backend, folder)
    arrays = [np.full((1, width), value, np.float32) for width, value in ((2, 1), (5, 2), (2, 3))]
    found = answers(model, [Request({"X": Tensor("X", array)}) for array in arrays])
    assert [float(response.output_tensors[0].array[0, 0]) for response in found] == [1, 2, 3]


def test_a_failing_run_answers_each_request_with_an_error_and_no_values(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")
    good, wrong = request(1, seed=1), Request({"CROPS": Tensor("CROPS", np.full((1, 9, 9, 3), 77, np.uint8))})
    first, second = answers(model, [good, wrong])
    assert first.error is None
    assert second.output_tensors == []
    assert str(second.error).startswith("ONNX Runtime failed: ")
    assert "77" not in str(second.error)


def test_nothing_runs_before_triton_has_its_thread_back(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")
    may_run = threading.Event()
    run = model.sessions.run_on
    model.sessions.run_on = lambda session, arrays: may_run.wait(10.0) and run(session, arrays)
    first, second = request(2, seed=1), request(1, seed=2)
    wanted = [expected_embeddings(asked["CROPS"].array) for asked in (first, second)]
    assert model.execute([first]) == [None]
    assert model.execute([second]) == [None]
    assert first.sent.empty()
    may_run.set()
    for asked, expected in zip((first, second), wanted, strict=True):
        np.testing.assert_allclose(asked.answer().output_tensors[0].array, expected, atol=1e-6)


def test_what_nobody_waits_for_any_more_is_not_run(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")
    may_run = threading.Event()
    ran: list[int] = []
    run = model.sessions.run_on

    def held(session: Any, arrays: Any) -> Any:
        assert may_run.wait(10.0)
        ran.append(len(arrays[0]))
        return run(session, arrays)

    model.sessions.run_on = held
    patient, late, mixed = request(1, seed=1), request(2, seed=2, timeout_us=1000), request(3, seed=3, timeout_us=1000)
    model.execute([patient])
    model.execute([late])
    # Who goes with somebody patient is run, too.
    model.execute([mixed, request(1, seed=4, timeout_us=60_000_000)])
    time.sleep(0.01)
    may_run.set()
    refusal = late.answer()
    assert (refusal.output_tensors, refusal.error) == ([], "Request timeout expired")
    assert patient.answer().error is None
    assert mixed.answer().error is None
    assert ran == [1, 4]


def test_an_answer_that_cannot_be_sent_takes_no_other_with_it_and_ends_the_stub(
    backend: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exits: SimpleQueue[int] = SimpleQueue()
    monkeypatch.setattr(os, "_exit", exits.put)
    model = loaded(backend, repository / "embedder")
    first, second = request(1, seed=1), request(1, seed=2)

    def broken() -> SimpleNamespace:
        raise RuntimeError("no shared memory")

    first.get_response_sender = broken  # type: ignore[method-assign]
    model.execute([first, second])
    assert second.answer().error is None
    assert exits.get(timeout=10.0) == 1
    assert backend.pb_utils.said == ["sightline answer lost: RuntimeError"]


def test_an_answer_that_cannot_be_built_is_an_error(backend: ModuleType, repository: Path) -> None:
    model = loaded(backend, repository / "embedder")

    def no_memory(share: Any) -> Any:
        raise MemoryError("content of the images")

    model.response = no_memory
    [response] = answers(model, [request(1, seed=1)])
    assert (response.output_tensors, response.error) == ([], "ONNX Runtime failed: MemoryError")


def test_a_call_that_cannot_be_taken_as_a_whole_is_answered_by_triton_alone(
    backend: ModuleType, repository: Path
) -> None:
    model = loaded(backend, repository / "embedder")
    submit, calls = model.sessions.submit, []

    def no_memory_for_the_second(arrays: Any, limit: float) -> Any:
        calls.append(arrays)
        if len(calls) == 2:
            raise MemoryError
        return submit(arrays, limit)

    model.sessions.submit = no_memory_for_the_second
    good, other_shape = request(1, seed=1), Request({"CROPS": Tensor("CROPS", np.zeros((1, 9, 9, 3), np.uint8))})
    with pytest.raises(MemoryError):
        model.execute([good, other_shape])
    answers(model, [request(1, seed=2)])
    assert good.sent.empty()


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_instance_that_would_run_on_the_cpu_is_refused(backend: ModuleType, repository: Path) -> None:
    with pytest.raises(RuntimeError, match="GPU"):
        loaded(backend, repository / "embedder", kind="GPU")


def test_where_the_server_asked_for_a_gpu_an_instance_on_the_cpu_is_refused(
    backend: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_ON_GPU", "1")
    with pytest.raises(RuntimeError, match="GPU"):
        loaded(backend, repository / "embedder", kind="CPU")


def test_names_types_and_dims_come_from_the_file(backend: ModuleType) -> None:
    config = backend.TritonPythonModel.auto_complete_config(Config(max_batch_size=16))
    assert config.inputs == [{"name": "IMAGES", "data_type": "TYPE_UINT8", "dims": [64, 64, 3]}]
    assert config.outputs == [
        {"name": "BOXES", "data_type": "TYPE_FP32", "dims": [8, 4]},
        {"name": "SCORES", "data_type": "TYPE_FP32", "dims": [8]},
        {"name": "LABELS", "data_type": "TYPE_INT32", "dims": [8]},
    ]


def test_without_batching_the_batch_is_one_more_dimension(backend: ModuleType) -> None:
    config = backend.TritonPythonModel.auto_complete_config(Config(max_batch_size=0))
    assert config.inputs[0]["dims"] == [-1, 64, 64, 3]


def test_a_version_without_a_model_is_an_error_that_names_the_folder(backend: ModuleType, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RuntimeError, match=str(empty)):
        backend.find_model(str(empty))
