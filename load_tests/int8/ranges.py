"""The calibration: values of the tensors around convolutions on known images, and the ranges chosen from them.

Rule: no tensor is kept whole. Of each image a fixed number of values is drawn by a seeded generator, next to the
extremes, so that the same images give the same ranges.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from load_tests.int8.recipes import ACTIVATIONS, RangeChoice
from sightline_models.onnx_runtime import onnxruntime

Values = NDArray[np.float32]
SAMPLES = 6000
"""Values of a tensor that are kept of an image."""
TAIL = 0.0001
"""Share of the values that `RangeChoice.PERCENTILE` leaves out at each end."""
UPPER_SHARES = (1.0, 0.92, 0.85, 0.77, 0.7, 0.6, 0.5)
LOWER_SHARES = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.12, 0.06)
"""Shares of the extremes that least squares tries. A negative value counts a tenth after a LeakyRelu, so that its range
may be cut deeper."""
STEPS = 255


def open_model(model: str | bytes) -> Any:
    """A session of one thread on the CPU, for a path or a model's bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def slopes(nodes: Sequence[Any]) -> Mapping[str, float]:
    """Inputs of activations -> the factor that those apply to negative values."""
    found: dict[str, float] = {}
    for node in nodes:
        if node.op_type in ACTIVATIONS:
            stated = [attribute.f for attribute in node.attribute if attribute.name == "alpha"]
            found[node.input[0]] = stated[0] if stated else (0.01 if node.op_type == "LeakyRelu" else 0.0)
    return found


def observe(model: Any, images: Sequence[NDArray[np.uint8]]) -> dict[str, Values]:
    """Some values and the extremes of each input and output of a convolution.

    model: the ONNX model (`ModelProto`), which is changed: these tensors become outputs.
    images: uint8 [H,W,3] each, as the model's only input takes them.
    """
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    names = sorted({name for node in convolutions for name in (node.input[0], node.output[0])})
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_model(model.SerializeToString())
    chance = np.random.default_rng(0)
    kept: dict[str, list[Values]] = {name: [] for name in names}
    for image in images:
        answers = session.run(names, {session.get_inputs()[0].name: image[None]})
        for name, array in zip(names, answers, strict=True):
            flat = array.ravel()
            drawn = flat[chance.integers(0, flat.size, min(SAMPLES, flat.size))]
            kept[name] += [drawn, np.array([flat.min(), flat.max()], np.float32)]
    return {name: np.concatenate(arrays) for name, arrays in kept.items()}


def chosen_range(values: Values, choice: RangeChoice, slope: float = 1.0) -> tuple[float, float]:
    """The lowest and the highest value that the steps of a tensor cover; 0 is always among them.

    slope: the factor of negative values in the activation that follows; 1 where none does.
    """
    lowest, highest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if choice is RangeChoice.PERCENTILE:
        return min(0.0, float(np.quantile(values, TAIL))), max(0.0, float(np.quantile(values, 1 - TAIL)))
    if choice is RangeChoice.EXTREMES or lowest == highest:
        return lowest, highest
    wanted = activated(values, slope)
    tried = [(lowest * low, highest * high) for high in UPPER_SHARES for low in LOWER_SHARES]
    errors = [float(np.mean((activated(rounded(values, *pair), slope) - wanted) ** 2)) for pair in tried]
    return tried[int(np.argmin(errors))]


def activated(values: Values, slope: float) -> Values:
    """The values after an activation of that slope below 0."""
    bent: Values = np.where(values > 0, values, slope * values).astype(np.float32)
    return bent


def rounded(values: Values, lowest: float, highest: float) -> Values:
    """The values as 8 bits over that range hold them."""
    step = (highest - lowest) / STEPS
    zero = round(-lowest / step)
    held: Values = ((np.clip(np.round(values / step) + zero, 0, STEPS) - zero) * step).astype(np.float32)
    return held
