"""Runs a model in float32 and in bf16 on the same images: `python compare_precisions.py MODEL`.

It is run by file, in the engine's own environment, by `embedded/precision_gate.py`, which judges the answers. It writes
a line `HEIGHT WIDTH` to stdout, reads the images from stdin (uint8 [N,HEIGHT,WIDTH,3] as numpy's `.npy`), and writes
numpy's `.npz`: `float32/OUTPUT` and `bf16/OUTPUT` [N,...], and `float32/ms` and `bf16/ms`, the milliseconds of an image
on one thread.
Rule: one image at a time and one thread, as the engine runs images when it is busy.
"""

import io
import os
import sys
import time
from typing import Any

import numpy as np
from bf16_sessions import BF16, FLOAT32, open_bf16
from numpy.typing import NDArray
from onnx_runtime import onnxruntime
from onnx_sessions import session_options


def main(path: str) -> None:
    """Answers on stdout. Raises what ONNX Runtime raises; `ValueError` for a model without a fixed image size."""
    # Libraries that print must not print into the answer.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    plain = onnxruntime.InferenceSession(path, session_options({}, 1), providers=["CPUExecutionProvider"])
    sessions = {FLOAT32: plain, BF16: open_bf16(path, threads=1)}
    (image,) = plain.get_inputs()
    _, height, width, _ = image.shape
    if not (isinstance(height, int) and isinstance(width, int)):
        raise ValueError("its image size is not fixed")
    answer.write(f"{height} {width}\n".encode())
    answer.flush()
    images = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    found: dict[str, Any] = {}
    for precision, session in sessions.items():
        found |= {f"{precision}/{name}": array for name, array in answers(session, image.name, images).items()}
    packed = io.BytesIO()
    np.savez(packed, **found)
    answer.write(packed.getvalue())
    answer.flush()


def answers(session: Any, name: str, images: NDArray[np.uint8]) -> dict[str, Any]:
    """The outputs of all images by name, and the shortest time of one of them as `ms`: no machine is quiet."""
    outputs = [node.name for node in session.get_outputs()]
    session.run(outputs, {name: images[:1]})
    each, times = [], []
    for number in range(len(images)):
        began = time.perf_counter()
        each.append(session.run(outputs, {name: images[number : number + 1]}))
        times.append(time.perf_counter() - began)
    joined = (np.concatenate(arrays) for arrays in zip(*each, strict=True))
    return dict(zip(outputs, joined, strict=True)) | {"ms": np.float64(min(times) * 1000)}


if __name__ == "__main__":
    main(sys.argv[1])
