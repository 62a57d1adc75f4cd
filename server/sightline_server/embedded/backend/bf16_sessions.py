"""A model in bf16 on a CPU that has it: a session of ONNX Runtime that OpenVINO's provider runs.

The provider is a separate library that ONNX Runtime loads (`onnxruntime-ep-openvino`), part of the engine's build
`cpu-bf16`. Its options are properties of OpenVINO, which every other program with this provider understands as well.
Rule: all of the model runs in OpenVINO, or the session fails. ONNX Runtime would otherwise run what the provider does
not know in float32, and report nothing.
"""

import json
import os
from functools import cache
from typing import Any

import numpy as np
from model_cores import Arrays
from numpy.typing import NDArray
from onnx_runtime import onnxruntime

ASKED = "SIGHTLINE_BF16"
"""Variable with the names of the models that run in bf16, separated by colons; set by the server, which compared the
answers of each."""
BF16, FLOAT32 = "bf16", "float32"


def asked_for_bf16(model: str) -> bool:
    """Returns whether the server that started the engine wants `model` in bf16."""
    return model in os.environ.get(ASKED, "").split(":")


@cache
def openvino_cpu() -> list[Any]:
    """OpenVINO's CPU as ONNX Runtime lists it. Raises `ImportError` where the provider is not installed."""
    import onnxruntime_ep_openvino as provider

    onnxruntime.register_execution_provider_library("openvino", provider.get_library_path())
    devices = [each for each in onnxruntime.get_ep_devices() if each.ep_name == provider.get_ep_name()]
    found = [each for each in devices if each.ep_metadata.get("ov_device") == "CPU"]
    if not found:
        raise ImportError("OpenVINO's provider shows no CPU")
    return found[:1]


def properties(threads: int, streams: int) -> dict[str, str]:
    """Options of the provider: OpenVINO's properties for its CPU, as JSON.

    `threads` run at most `streams` calls at once. They are not pinned: the backend decides who runs on which core.
    """
    chosen = {
        "INFERENCE_PRECISION_HINT": BF16,
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": str(streams),
        "ENABLE_CPU_PINNING": "NO",
    }
    return {"load_config": json.dumps({"CPU": chosen})}


def open_bf16(path: str, threads: int, streams: int = 1) -> "OneByOne":
    """The model in bf16. Raises what ONNX Runtime raises where OpenVINO cannot run all of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # OpenVINO brings its threads.
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # OpenVINO plans for the shapes that it knows: a batch of one image.
    for name in batch_dimensions(path):
        options.add_free_dimension_override_by_name(name, 1)
    options.add_provider_for_devices(openvino_cpu(), properties(threads, streams))
    return OneByOne(onnxruntime.InferenceSession(path, options))


def batch_dimensions(path: str) -> list[str]:
    """The names of the first dimensions of the model's inputs that are open."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return sorted({node.shape[0] for node in session.get_inputs() if node.shape and isinstance(node.shape[0], str)})


class OneByOne:
    """A session for one image, used like a session for batches: it runs the images of a batch one after the other."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def get_providers(self) -> list[str]:
        """The providers of the session, first choice first."""
        providers: list[str] = self._session.get_providers()
        return providers

    def get_inputs(self) -> list[Any]:
        """The model's inputs, as ONNX Runtime describes them."""
        inputs: list[Any] = self._session.get_inputs()
        return inputs

    def get_outputs(self) -> list[Any]:
        """The model's outputs, as ONNX Runtime describes them."""
        outputs: list[Any] = self._session.get_outputs()
        return outputs

    def run(self, outputs: list[str] | None, feed: dict[str, NDArray[Any]]) -> Arrays:
        """The outputs of a batch of one or more images."""
        count = len(next(iter(feed.values())))
        if count == 1:
            alone: Arrays = self._session.run(outputs, feed)
            return alone
        parts = [
            self._session.run(outputs, {name: array[place : place + 1] for name, array in feed.items()})
            for place in range(count)
        ]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
