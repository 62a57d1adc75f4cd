"""Milliseconds of one model call by batch size: `python time_model.py MODEL.onnx PROVIDER SECONDS BATCH...`.

Run by file in the engine's own environment, where there is numpy and ONNX Runtime and nothing of Sightline. Prints one
JSON object: the provider in use, and for each batch the calls, their p50 and p99 in ms, and the first call's.
Rule: images are in host memory before and answers after, as in the engine: the copies are part of the figure. Options
of the provider are those of the engine's backend.
"""

import json
import os
import sys
import time
from typing import Any

import numpy as np

# Nothing of Sightline can be imported here, so the switch of sightline_models.onnx_runtime is set by hand.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

LEAST_CALLS = 5


def session(path: str, provider: str) -> Any:
    """The model in ONNX Runtime. Raises RuntimeError when another provider than `provider` was given."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen: list[Any] = [provider]
    if provider == "CUDAExecutionProvider":
        chosen = [(provider, {"device_id": 0, "cudnn_conv_algo_search": "HEURISTIC"}), "CPUExecutionProvider"]
    made = onnxruntime.InferenceSession(path, options, providers=chosen)
    if made.get_providers()[0] != provider:
        raise RuntimeError(f"asked for {provider}, got {made.get_providers()[0]}")
    return made


def measure(made: Any, batch: int, seconds: float) -> dict[str, float]:
    """Calls with `batch` images of noise for `seconds`, after two that do not count."""
    node = made.get_inputs()[0]
    images = np.random.default_rng(0).integers(0, 256, (batch, *node.shape[1:]), np.uint8)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < LEAST_CALLS + 2 or time.perf_counter() - begun < seconds:
        before = time.perf_counter()
        made.run(None, {node.name: images})
        times.append((time.perf_counter() - before) * 1e3)
    counted = np.array(times[2:])
    return {
        "batch": batch,
        "calls": len(counted),
        "first_ms": round(times[0], 3),
        "p50_ms": round(float(np.percentile(counted, 50)), 3),
        "p99_ms": round(float(np.percentile(counted, 99)), 3),
    }


def main() -> None:
    """Measures every batch size that was named."""
    path, provider, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    made = session(path, provider)
    rows = [measure(made, int(batch), seconds) for batch in sys.argv[4:]]
    found = {"provider": made.get_providers()[0], "onnxruntime": onnxruntime.__version__, "batches": rows}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
