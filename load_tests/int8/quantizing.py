"""A detector in int8, by ONNX Runtime's static quantization: pairs of QuantizeLinear and DequantizeLinear around the
chosen convolutions, which ONNX Runtime joins to integer kernels.

Rule: the library writes a file next to the model that it reads, and removes it afterwards. So it gets a copy in a
temporary folder, and a model repository is never written to.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from load_tests.int8.ranges import Values, chosen_range
from load_tests.int8.recipes import Recipe

# Overwritten, not defaulted, before the library is loaded: an inherited 0 would leave its telemetry on.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data


def quantized(
    model: bytes, recipe: Recipe, nodes: tuple[str, ...], observed: Mapping[str, Values], slopes: Mapping[str, float]
) -> bytes:
    """The model with `nodes` in int8; the same bytes for the same arguments.

    observed: values of the tensors around them, by name. slopes: see `ranges.slopes`.
    """
    chosen = {name: chosen_range(values, recipe.ranges, slopes.get(name, 1.0)) for name, values in observed.items()}
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in chosen.items()}
    with tempfile.TemporaryDirectory() as folder, fewer_warnings():
        source, result, ranges = (Path(folder) / name for name in ("model.onnx", "int8.onnx", "ranges.json"))
        source.write_bytes(model)
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), ranges)
        quantize_static(
            source,
            result,
            calibration_cache_path=ranges,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=list(nodes),
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


@contextmanager
def fewer_warnings() -> Iterator[None]:
    """Silences the library's advice to prepare the model first: ours has constants and shapes where it wants them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
