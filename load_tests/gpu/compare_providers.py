"""Embeddings of the GPU against those of the CPU: `python compare_providers.py MODEL.onnx CROPS.npy`.

Run by file in the engine's own environment, as `time_model.py` is. Prints one JSON object: for the CUDA provider with
and without TF32 the least and the median cosine to the CPU's embeddings of the same crops, and whether each crop's
nearest other crop is the same.
Rule: the two providers get the same uint8 crops [N,H,W,3]; embeddings are compared as they come, in float32.
"""

import json
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Nothing of Sightline can be imported here, so the switch of sightline_models.onnx_runtime is set by hand.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

BATCH = 16


def embeddings(path: str, providers: list[Any], crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings [N,D] of `crops`, each of length 1. Raises RuntimeError when another provider runs the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    wanted = providers[0][0] if isinstance(providers[0], tuple) else providers[0]
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"asked for {wanted}, got {session.get_providers()[0]}")
    name = session.get_inputs()[0].name
    batches = range(0, len(crops), BATCH)
    rows = np.concatenate([session.run(None, {name: crops[first : first + BATCH]})[0] for first in batches])
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def nearest_other(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each row the number of the most similar other row."""
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -np.inf)
    nearest: NDArray[np.int64] = np.argmax(similarity, axis=1)
    return nearest


def main() -> None:
    """Compares both settings of TF32."""
    path, crops = sys.argv[1], np.load(sys.argv[2])
    reference = embeddings(path, ["CPUExecutionProvider"], crops)
    compared = {}
    for tf32 in (1, 0):
        cuda = ("CUDAExecutionProvider", {"device_id": 0, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": tf32})
        rows = embeddings(path, [cuda, "CPUExecutionProvider"], crops)
        cosines = np.sum(rows * reference, axis=1)
        compared["tf32" if tf32 else "float32"] = {
            "least_cosine": float(cosines.min()),
            "median_cosine": float(np.median(cosines)),
            "same_nearest": float(np.mean(nearest_other(rows) == nearest_other(reference))),
        }
    print(json.dumps({"crops": len(crops), **compared}))


if __name__ == "__main__":
    main()
