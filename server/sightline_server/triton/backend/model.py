"""Triton's backend `onnxruntime`, written for its Python backend: the embedded engine's stand-in for the native one.

It is copied beside `python/` in the engine's backend directory and runs in Triton's stub processes, in the engine's
own environment: so it imports numpy, ONNX Runtime and `triton_python_backend_utils` and nothing of Sightline.
Rule: one `config.pbtxt` means the same here and on the native backend, parameter names included.
"""

import glob
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

Arrays = list[NDArray[Any]]
"""One request's inputs, or one answer's outputs, in the order of the model."""

TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}


def find_model(version_dir: str) -> str:
    """The one ONNX file of a version folder; `model.onnx` where there are several."""
    usual = os.path.join(version_dir, "model.onnx")
    if os.path.exists(usual):
        return usual
    found = sorted(glob.glob(os.path.join(version_dir, "*.onnx")))
    if len(found) != 1:
        raise pb_utils.TritonModelException("no model.onnx in " + version_dir)
    return found[0]


def parameter(config: dict[str, Any], key: str, default: str) -> str:
    """A string parameter of a model's configuration."""
    return str(config.get("parameters", {}).get(key, {}).get("string_value", default))


def tensor_entry(node: Any, batched: bool) -> dict[str, Any]:
    """What config.pbtxt would say of one ONNX input or output: name, type, dims without the batch."""
    dims = [d if isinstance(d, int) and d > 0 else -1 for d in node.shape]
    if node.type not in TYPES:
        raise pb_utils.TritonModelException("tensor " + node.name + " has the unsupported type " + node.type)
    if batched and (not dims or dims[0] != -1):
        raise pb_utils.TritonModelException("tensor " + node.name + " has no dynamic batch dimension")
    return {"name": node.name, "data_type": TYPES[node.type], "dims": dims[1:] if batched else dims}


def providers(kind: str, device_id: str) -> list[Any]:
    """ONNX Runtime's providers for an instance of `kind`, first choice first."""
    if kind == "GPU":
        # The default tries every algorithm of every convolution anew for each size of batch: seconds, while calls wait.
        options = {"device_id": int(device_id), "cudnn_conv_algo_search": "HEURISTIC"}
        return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def cores_of(config: dict[str, Any]) -> int:
    """The cores that one instance of the model may use: an equal share for each."""
    instances = max(1, sum(int(group.get("count", 1)) for group in config.get("instance_group", [])))
    return max(1, len(os.sched_getaffinity(0)) // instances)


def session_options(config: dict[str, Any], threads: int) -> Any:
    """Options under the names that the native backend reads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = int(parameter(config, "inter_op_thread_count", "0"))
    # Threads that spin between calls take the cores from the other model: nearly half of the CPU time, measured.
    spin = parameter(config, "intra_op_allow_spinning", "0")
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    return options


class Sessions:
    """The model in ONNX Runtime: one session, and on the CPU another of a single thread that batches are dealt to.

    On a CPU a batch costs what its pictures cost one by one, so several pictures are best run on a core each, and all
    cores are best joined for a picture alone (docs/performance.md). More instances of the model would do the same, but
    Triton's Python backend crashes now and then with more than one (triton-inference-server/server#8882).
    """

    def __init__(self, path: str, config: dict[str, Any], kind: str, device_id: str) -> None:
        stated = int(parameter(config, "intra_op_thread_count", "0"))
        cores = cores_of(config)
        chosen = providers(kind, device_id)
        self.joined = onnxruntime.InferenceSession(path, session_options(config, stated or cores), providers=chosen)
        self.provider = self.joined.get_providers()[0]
        self.inputs = [node.name for node in self.joined.get_inputs()]
        self.outputs = [node.name for node in self.joined.get_outputs()]
        # Whoever states a number of threads gets one session with so many.
        self.dealers = cores if kind != "GPU" and not stated else 1
        if self.dealers > 1:
            self.single = onnxruntime.InferenceSession(path, session_options(config, 1), providers=chosen)
            self.threads = ThreadPoolExecutor(self.dealers)

    def run(self, arrays: Arrays) -> Arrays:
        """The outputs of one batch."""
        parts = min(self.dealers, arrays[0].shape[0] if arrays[0].ndim else 1)
        if parts < 2:
            return self.run_on(self.joined, arrays)
        dealt = zip(*(np.array_split(array, parts) for array in arrays), strict=True)
        answers = self.threads.map(lambda part: self.run_on(self.single, part), dealt)
        return [np.concatenate(pieces) for pieces in zip(*answers, strict=True)]

    def run_on(self, session: Any, arrays: Sequence[NDArray[Any]]) -> Arrays:
        """One call of ONNX Runtime."""
        results: Arrays = session.run(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        return results


class TritonPythonModel:
    """One instance of one ONNX model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Takes names, types and dims of all tensors from the ONNX file, as the native backend does."""
        config = auto_complete_model_config.as_dict()
        batched = config.get("max_batch_size", 0) > 0
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        path = find_model(pb_utils.get_model_dir())
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for node in session.get_inputs():
            auto_complete_model_config.add_input(tensor_entry(node, batched))
        for node in session.get_outputs():
            auto_complete_model_config.add_output(tensor_entry(node, batched))
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model with the provider that the instance kind asks for, or fails."""
        config = json.loads(args["model_config"])
        kind = args["model_instance_kind"]
        path = find_model(os.path.join(args["model_repository"], str(args["model_version"])))
        self.sessions = Sessions(path, config, kind, args["model_instance_device_id"])
        # The variable is set by the server that asked for a GPU, for the case that Triton sees none.
        gpu_asked = kind == "GPU" or "SIGHTLINE_ON_GPU" in os.environ
        if gpu_asked and self.sessions.provider == "CPUExecutionProvider":
            raise pb_utils.TritonModelException(
                "model " + args["model_name"] + " is to run on a GPU but ONNX Runtime gave the CPU provider"
            )
        # The engine reads this line from Triton's log: it is how the provider in use becomes a metric.
        pb_utils.Logger.log_info("sightline provider " + args["model_name"] + " " + self.sessions.provider)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Runs all requests of equal sample shape as one batch; answers each, in order."""
        feeds = [self.feed(request) for request in requests]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for position, arrays in enumerate(feeds):
            groups.setdefault(tuple(a.shape[1:] for a in arrays), []).append(position)
        responses: list[Any] = [None] * len(requests)
        for members in groups.values():
            for position, response in zip(members, self.run([feeds[m] for m in members]), strict=True):
                responses[position] = response
        return responses

    def feed(self, request: Any) -> Arrays:
        """A request's arrays in the order of the model's inputs."""
        return [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.sessions.inputs]

    def run(self, members: Sequence[Arrays]) -> list[Any]:
        """One ONNX Runtime call for requests whose shapes agree beyond the batch; one response each."""
        joined = members[0] if len(members) == 1 else [np.concatenate(arrays) for arrays in zip(*members, strict=True)]
        try:
            results = self.sessions.run(joined)
        except Exception as error:
            failure = pb_utils.TritonError("ONNX Runtime failed: " + type(error).__name__)
            return [pb_utils.InferenceResponse(output_tensors=[], error=failure) for _ in members]
        ends = np.cumsum([arrays[0].shape[0] for arrays in members])[:-1]
        shares = zip(*(np.split(result, ends) for result in results), strict=True)
        return [self.response(share) for share in shares]

    def response(self, arrays: Sequence[NDArray[Any]]) -> Any:
        """The named arrays as Triton's response."""
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(array))
            for name, array in zip(self.sessions.outputs, arrays, strict=True)
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)
