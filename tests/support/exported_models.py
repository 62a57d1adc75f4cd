"""Tiny ONNX files as exporters of training frameworks write them, and numpy's own answers to the same pixels.

The tower cuts float pixels [B, 3, 16, 16] into 4 x 4 patches and multiplies each by a matrix: a map [B, 8, 4, 4] that
`tokens` holds as [B, 16, 8], and `pooled` as the tanh of the mean [B, 8].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
PATCH = 4
WIDTH = 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Dim = int | str

WEIGHT: Floats = np.random.default_rng(11).normal(0, 0.3, (WIDTH, 3, PATCH, PATCH)).astype(np.float32)


def images(count: int, seed: int = 5) -> Pixels:
    """Noise uint8 [count, 16, 16, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def tower(
    outputs: Sequence[str] = ("tokens", "pooled"),
    *,
    shape: Sequence[Dim] = ("batch", 3, SIZE, SIZE),
    opset: int = 17,
    element: int = TensorProto.FLOAT,
    more: Sequence[onnx.NodeProto] = (),
    weights: Mapping[str, NDArray[Any]] | None = None,
    more_inputs: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    """The tower with some of its values `map`, `tokens` and `pooled` as outputs, or those of `more` nodes."""
    numpy_type = helper.tensor_dtype_to_np_dtype(element)
    constants: dict[str, NDArray[Any]] = {
        "weight": WEIGHT.astype(numpy_type),
        "token_shape": np.array([0, WIDTH, -1], np.int64),
        "axes": np.array([1], np.int64),
        **(weights or {}),
    }
    mean = ["tokens"] if opset < 18 else ["tokens", "axes"]
    nodes = [
        helper.make_node("Conv", ["pixel_values", "weight"], ["map"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["map", "token_shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", mean, ["mean"], keepdims=0, axes=None if opset >= 18 else [1]),
        helper.make_node("Tanh", ["mean"], ["pooled"]),
        *more,
    ]
    pixels = helper.make_tensor_value_info("pixel_values", element, list(shape))
    # Without a shape, as some exporters leave it.
    found = [helper.make_tensor_value_info(name, element, None) for name in outputs]
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "tower", [pixels, *more_inputs], found, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tokens_of(crops: Pixels, mean: Sequence[float] = MEAN, std: Sequence[float] = STD, scale: float = 255) -> Floats:
    """The tower's tokens [B, n, 8] of uint8 [B, h, w, 3]."""
    pixels = (crops.astype(np.float64) / scale - mean) / std
    patches = pixels.reshape(len(crops), crops.shape[1] // PATCH, PATCH, crops.shape[2] // PATCH, PATCH, 3)
    found: Floats = np.einsum("brycxk,okyx->brco", patches, WEIGHT).reshape(len(crops), -1, WIDTH).astype(np.float32)
    return found


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1."""
    found: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


CLASSES = 5
CLASS_WEIGHT: Floats = np.random.default_rng(12).normal(0, 0.2, (WIDTH, CLASSES)).astype(np.float32)
BOX_WEIGHT: Floats = np.random.default_rng(13).normal(0, 1, (WIDTH, 4)).astype(np.float32)
OBJECT_WEIGHT: Floats = np.random.default_rng(14).normal(0, 1, (WIDTH, 1)).astype(np.float32)


def detr() -> onnx.ModelProto:
    """Outputs `logits` [B, 16, 5] and `pred_boxes` [B, 16, 4], centre and size in parts of the image."""
    nodes = [
        helper.make_node("MatMul", ["tokens", "class_weight"], ["logits"]),
        helper.make_node("MatMul", ["tokens", "box_weight"], ["raw_boxes"]),
        helper.make_node("Sigmoid", ["raw_boxes"], ["pred_boxes"]),
    ]
    weights = {"class_weight": CLASS_WEIGHT, "box_weight": BOX_WEIGHT}
    return tower(["logits", "pred_boxes"], more=nodes, weights=weights)


def yolo(*, by_row: bool, objectness: bool, shape: Sequence[Dim] = ("batch", 3, SIZE, SIZE)) -> onnx.ModelProto:
    """One output [B, 9, 16], or [B, 16, 9] by row: boxes in pixels, objectness if asked for, and probabilities."""
    nodes = [*detr().graph.node][-3:]
    parts = ["pixel_boxes", *["presence"] * objectness, "probabilities"]
    nodes += [
        helper.make_node("Mul", ["pred_boxes", "size"], ["pixel_boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("MatMul", ["tokens", "object_weight"], ["raw_presence"]),
        helper.make_node("Sigmoid", ["raw_presence"], ["presence"]),
        helper.make_node("Concat", parts, ["rows"], axis=2),
        helper.make_node("Transpose", ["rows"], ["output0"], perm=[0, 1, 2] if by_row else [0, 2, 1]),
    ]
    size = np.array(SIZE, np.float32)
    weights = {"class_weight": CLASS_WEIGHT, "box_weight": BOX_WEIGHT, "object_weight": OBJECT_WEIGHT, "size": size}
    return tower(["output0"], shape=shape, more=nodes, weights=weights)


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), calculated in float64."""
    found: Floats = (1 / (1 + np.exp(-values.astype(np.float64)))).astype(np.float32)
    return found


def raw_detections(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    """Logits [B, 16, 5], boxes [B, 16, 4] as centre and size, and objectness [B, 16] of `detr` and `yolo`."""
    tokens = tokens_of(pixels)
    return tokens @ CLASS_WEIGHT, sigmoid(tokens @ BOX_WEIGHT), sigmoid(tokens @ OBJECT_WEIGHT)[..., 0]


def detections(boxes: Floats, probabilities: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """The contract's answers of boxes as centre and size, and probabilities [B, n, classes]: best score first."""
    best, label = probabilities.max(axis=2), probabilities.argmax(axis=2)
    corners = np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=2)
    order = np.argsort(-best, axis=1)
    return (
        np.take_along_axis(corners.clip(0, 1), order[..., None], 1),
        np.take_along_axis(best, order, 1),
        np.take_along_axis(label, order, 1),
    )
