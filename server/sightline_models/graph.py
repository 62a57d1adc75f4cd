"""A small writer of ONNX graphs for the recipes.

Place in the flow: recipe -> Graph -> bytes of one `.onnx` file. The one rule: the same calls give the same bytes, on
every machine and with every supported version of onnx and numpy, because the file's SHA-256 is pinned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

OPSET = 17
"""Old enough for every ONNX Runtime since 1.12 and for Triton's own backend."""
IR_VERSION = 8
"""The file format that belongs to opset 17; newer ones are refused by the engine's ONNX Runtime."""

FloatArray = npt.NDArray[np.float32]
Dim = int | str

_ELEMENT_TYPES: Mapping[type[np.generic], int] = {
    np.float32: TensorProto.FLOAT,
    np.uint8: TensorProto.UINT8,
    np.int32: TensorProto.INT32,
    np.int64: TensorProto.INT64,
}


def fold_batch_norm(
    weight: FloatArray,
    *,
    scale: FloatArray,
    shift: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    epsilon: float,
) -> tuple[FloatArray, FloatArray]:
    """Folds an inference-time batch norm into the convolution in front of it.

    Computed in float64 with correctly rounded operations only, so that every machine rounds to the same float32.

    Args:
        weight: float32 [out, in, kh, kw] of a convolution without bias.
        scale, shift, mean, variance: float32 [out] of the batch norm.

    Returns:
        weight float32 [out, in, kh, kw] and bias float32 [out].
    """
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    folded = weight.astype(np.float64) * factor[:, None, None, None]
    bias = shift.astype(np.float64) - mean.astype(np.float64) * factor
    return folded.astype(np.float32), bias.astype(np.float32)


class Graph:
    """Collects nodes and weights; names follow from the order of the calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[Dim]) -> str:
        """Declares an input; a string in `shape` is a dynamic dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[dtype], list(shape)))
        return name

    def output(self, value: str, name: str, dtype: type[np.generic], shape: Sequence[Dim]) -> None:
        """Publishes `value` under `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name.lower()))
        self._outputs.append(helper.make_tensor_value_info(name, _ELEMENT_TYPES[dtype], list(shape)))

    def constant(self, array: npt.NDArray[np.generic]) -> str:
        """Stores a weight, little-endian, and returns its name."""
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
        name = f"w{len(self._weights)}"
        element = _ELEMENT_TYPES[array.dtype.type]
        self._weights.append(helper.make_tensor(name, element, array.shape, little.tobytes(), raw=True))
        return name

    def nodes(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Adds a node with several outputs."""
        stem = f"n{len(self._nodes)}_{op.lower()}"
        names = [stem if outputs == 1 else f"{stem}_{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=stem, **attributes))
        return names

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node with one output and returns that output's name."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def conv(
        self,
        x: str,
        weight: FloatArray,
        bias: FloatArray,
        *,
        stride: int,
        pads: tuple[int, int, int, int],
        groups: int = 1,
    ) -> str:
        """A convolution over [B, C, H, W]; `pads` is (top, left, bottom, right)."""
        return self.node(
            "Conv",
            [x, self.constant(weight), self.constant(bias)],
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=list(pads),
            group=groups,
        )

    def serialize(self, metadata: Mapping[str, str]) -> bytes:
        """Checks the whole and returns the file's bytes.

        Args:
            metadata: becomes the file's `metadata_props`, in order of key.
        """
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="sightline")
        for key in sorted(metadata):
            model.metadata_props.add(key=key, value=metadata[key])
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)
