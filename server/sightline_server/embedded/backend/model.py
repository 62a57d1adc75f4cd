"""Triton's backend `onnxruntime`, written for its Python backend: the embedded engine's replacement for the native one.

The files of this folder are copied next to `python/` in the engine's backend directory and run in Triton's stub
processes, in the engine's own environment: so they import numpy, ONNX Runtime and `triton_python_backend_utils` and
nothing of Sightline. This one is Triton's side, onnx_sessions.py is ONNX Runtime's, onnx_runtime.py loads it without
its telemetry, model_cores.py assigns images to cores, fixed_batches.py serves a GPU, bf16_sessions.py a CPU with bf16;
compare_precisions.py is a separate program.
Rule: one `config.pbtxt` means the same here and on the native backend, parameter names included.
"""

import ctypes
import glob
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from bf16_sessions import asked_for_bf16
from model_cores import Arrays
from numpy.typing import NDArray
from onnx_runtime import onnxruntime
from onnx_sessions import Sessions

M_PERTURB = -6
PATTERN = 90
"""Byte that overwrites freed memory."""
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


def tensor_entry(node: Any, batched: bool) -> dict[str, Any]:
    """One ONNX input or output as config.pbtxt describes it: name, type, dims without the batch."""
    dims = [d if isinstance(d, int) and d > 0 else -1 for d in node.shape]
    if node.type not in TYPES:
        raise pb_utils.TritonModelException("tensor " + node.name + " has the unsupported type " + node.type)
    if batched and (not dims or dims[0] != -1):
        raise pb_utils.TritonModelException("tensor " + node.name + " has no dynamic batch dimension")
    return {"name": node.name, "data_type": TYPES[node.type], "dims": dims[1:] if batched else dims}


def joined(members: Sequence[Arrays]) -> Arrays:
    """The inputs of several requests one after the other; those of a single one as they are."""
    return members[0] if len(members) == 1 else [np.concatenate(arrays) for arrays in zip(*members, strict=True)]


def patience_s(requests: Sequence[Any]) -> float:
    """The longest timeout of the requests; infinite if one has none."""
    return max(request.timeout() / 1e6 or math.inf for request in requests)


def refusals(count: int, error: BaseException) -> list[Any]:
    """An error for each of `count` requests, with Triton's own message where their timeout had expired."""
    words = (
        "Request timeout expired" if isinstance(error, TimeoutError) else "ONNX Runtime failed: " + type(error).__name__
    )
    refusal = pb_utils.TritonError(words)
    return [pb_utils.InferenceResponse(output_tensors=[], error=refusal) for _ in range(count)]


def forget_what_is_freed() -> None:
    """Makes glibc overwrite freed memory in this process: pixels stay in what the allocator keeps otherwise.

    Other C libraries have no such option and are left alone.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_PERTURB, PATTERN)


def taken(tensor: Any) -> NDArray[Any]:
    """An input. Where it is a copy, the memory that Triton shares with this process is overwritten at once.

    Triton never overwrites it: it keeps the memory for later requests, which may be smaller or lie elsewhere in it.
    """
    array: NDArray[Any] = tensor.as_numpy()
    shared = np.from_dlpack(tensor)
    if not np.shares_memory(array, shared):
        # By its address, because numpy takes memory of others as read-only.
        ctypes.memset(shared.ctypes.data, 0, shared.nbytes)
    return array


def overwrite(arrays: Arrays) -> None:
    """Fills inputs with zeros, when their models have run."""
    for array in arrays:
        if array.flags.writeable:
            array.fill(0)


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
        forget_what_is_freed()
        config = json.loads(args["model_config"])
        kind = args["model_instance_kind"]
        path = find_model(os.path.join(args["model_repository"], str(args["model_version"])))
        bf16 = asked_for_bf16(args["model_name"])
        self.sessions = Sessions(path, config, kind, args["model_instance_device_id"], bf16=bf16)
        # The variable is set by the server that asked for a GPU, for the case that Triton sees none.
        gpu_asked = kind == "GPU" or "SIGHTLINE_ON_GPU" in os.environ
        if gpu_asked and self.sessions.provider == "CPUExecutionProvider":
            raise pb_utils.TritonModelException(
                "model " + args["model_name"] + " is to run on a GPU but ONNX Runtime gave the CPU provider"
            )
        # The engine reads this line from Triton's log: it is how provider and precision in use become metrics.
        in_use = self.sessions.provider + " " + self.sessions.precision
        pb_utils.Logger.log_info("sightline provider " + args["model_name"] + " " + in_use)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Takes the requests and returns; each has its answer when its images have run.

        Triton marks a stub as unhealthy whose `execute` takes longer than a second without a heartbeat, wrongly where
        the machine itself was frozen, and then gives the late answers to the wrong requests (docs/operate/engine.md).
        An answer that is sent later can reach only its own request. And the next batch is here when a core
        becomes free.
        """
        feeds = [self.feed(request) for request in requests]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for position, arrays in enumerate(feeds):
            groups.setdefault(tuple(a.shape[1:] for a in arrays), []).append(position)
        now = time.monotonic()
        outcomes = []
        for places in groups.values():
            members = [requests[place] for place in places]
            inputs = joined([feeds[place] for place in places])
            outcomes.append((members, self.sessions.submit(inputs, now + patience_s(members))))
        # From here on nothing may fail: a response that was sent to Triton must not be sent again.
        for (members, outcome), places in zip(outcomes, groups.values(), strict=True):
            sizes = [feeds[place][0].shape[0] for place in places]
            # The requests go with it, and so does the memory that their arrays are views of.
            outcome.add_done_callback(partial(self.send, members, sizes, [feeds[place] for place in places]))
        return [None] * len(requests)

    def feed(self, request: Any) -> Arrays:
        """A request's arrays in the order of the model's inputs."""
        return [taken(pb_utils.get_input_tensor_by_name(request, name)) for name in self.sessions.inputs]

    def send(
        self, requests: Sequence[Any], sizes: Sequence[int], feeds: Sequence[Arrays], outcome: "Future[Arrays]"
    ) -> None:
        """Answers requests of `sizes` samples that ran together, and overwrites their inputs.

        What cannot be sent, for want of shared memory, cannot be sent again: its sender counts as used. Triton would
        wait for it for ever and its caller till the deadline, so the stub ends, which is noticed, and is replaced.
        """
        for arrays in feeds:
            overwrite(arrays)
        lost = False
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        for request, response in zip(requests, self.responses(sizes, outcome), strict=True):
            try:
                request.get_response_sender().send(response, flags=final)
            except Exception as error:  # the others' answers go out all the same
                pb_utils.Logger.log_error("sightline answer lost: " + type(error).__name__)
                lost = True
        if lost:
            os._exit(1)

    def responses(self, sizes: Sequence[int], outcome: "Future[Arrays]") -> list[Any]:
        """One response for each request; raises nothing."""
        # Its error is not raised here: a traceback would keep these frames and the images in them alive in a circle.
        if (failure := outcome.exception()) is not None:
            return refusals(len(sizes), failure)
        try:
            ends = np.cumsum(sizes)[:-1]
            shares = zip(*(np.split(result, ends) for result in outcome.result()), strict=True)
            return [self.response(share) for share in shares]
        except Exception as error:  # no memory, for one
            return refusals(len(sizes), error)

    def response(self, arrays: Sequence[NDArray[Any]]) -> Any:
        """The named arrays as Triton's response."""
        tensors = [
            pb_utils.Tensor(name, np.ascontiguousarray(array))
            for name, array in zip(self.sessions.outputs, arrays, strict=True)
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)
