"""Operations and bytes of an ONNX model, counted node by node: the floor under its latency.

Rule: a multiply-add is two operations; convolutions and matrix products are counted exactly, every other node as one
operation for each number that it gives. The bytes are those that cannot be avoided: weights once a batch, input and
output once an image; what lies between could stay on the chip.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import shape_inference

PRODUCTS = ("MatMul", "Gemm")
MOVES = ("Identity", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Transpose", "Concat", "Split", "Constant", "Cast")
"""Nodes that compute nothing."""


@dataclass(frozen=True, slots=True)
class Work:
    """The cost of one image: operations in products (convolutions, matrices) and elsewhere, and bytes."""

    product_ops: float
    other_ops: float
    weight_bytes: float
    picture_bytes: float

    @property
    def ops(self) -> float:
        """All operations of an image."""
        return self.product_ops + self.other_ops

    def floor_s(self, batch: int, ops_per_s: float, bytes_per_s: float) -> float:
        """The least seconds that `batch` images take: by operations or by bytes, whichever is more."""
        return max(batch * self.ops / ops_per_s, (self.weight_bytes + batch * self.picture_bytes) / bytes_per_s)


def count(path: Path) -> Work:
    """The work of one image through the model at `path`."""
    return count_model(onnx.load(path))


def count_model(model: onnx.ModelProto) -> Work:
    """See `count`; a batch of one is put where the model leaves the batch open."""
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = shapes_of(graph)
    products = others = 0.0
    for node in graph.node:
        given = sum(math.prod(shapes.get(name, ())) for name in node.output if name)
        if (ops := product_ops(node, shapes)) is not None:
            products += ops
        elif node.op_type not in MOVES:
            others += given
    weights = sum(bytes_of(tensor.data_type, math.prod(tensor.dims)) for tensor in graph.initializer)
    ends = {value.name for value in (*graph.input, *graph.output)} - {tensor.name for tensor in graph.initializer}
    values = [value for value in (*graph.input, *graph.output) if value.name in ends]
    moved = sum(bytes_of(v.type.tensor_type.elem_type, math.prod(shapes[v.name])) for v in values)
    return Work(products, others, weights, moved)


def product_ops(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> float | None:
    """Operations of a convolution or a matrix product; None for another node.

    Raises ValueError where the shapes are not known, for then the count would be silently too small.
    """
    if node.op_type != "Conv" and node.op_type not in PRODUCTS:
        return None
    first, second, out = shapes.get(node.input[0]), shapes.get(node.input[1]), shapes.get(node.output[0])
    if not first or not second or not out:
        raise ValueError(f"the shapes of {node.op_type} {node.name or node.output[0]} are not known")
    if node.op_type == "Conv":
        # The weight is [out channels, in channels of the group, height, width].
        return 2.0 * math.prod(out) * math.prod(second[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2.0 * math.prod(out) * first[-2 if transposed else -1]


def shapes_of(graph: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor whose sizes are all known."""
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found.setdefault(value.name, tuple(dim.dim_value for dim in dims))
    return found


def bytes_of(data_type: int, count: int) -> float:
    """Bytes of `count` numbers of an ONNX type."""
    return float(count * onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)
