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
_INCLUDED = "included/"
"""The beginning of the names in a model that a graph includes, so that they differ from the graph's own."""


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
    """Collects nodes and weights; names follow from the order of the calls.

    Args:
        opset, ir_version: of the file; others than the usual ones are for a graph that includes another model.
    """

    def __init__(self, name: str, *, opset: int = OPSET, ir_version: int = IR_VERSION) -> None:
        self._name = name
        self.opset = opset
        self._ir_version = ir_version
        self._included: onnx.ModelProto | None = None
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

    def reduce(self, op: str, x: str, axes: Sequence[int]) -> str:
        """Adds `ReduceMax` or `ReduceMean` over `axes`, which disappear; opset 18 made the axes an input."""
        if self.opset < 18:
            return self.node(op, [x], axes=list(axes), keepdims=0)
        return self.node(op, [x, self.constant(np.array(axes, dtype=np.int64))], keepdims=0)

    def include(self, model: onnx.ModelProto, inputs: Mapping[str, str], outputs: Sequence[str]) -> list[str]:
        """Adds all nodes and weights of another model, which must have this graph's opset; once a graph.

        Args:
            inputs: a value of this graph for each input of the model, by the input's name.
            outputs: names of outputs of the model.

        Returns:
            The values of this graph that hold these outputs.
        """
        assert self._included is None
        included = onnx.ModelProto()
        included.CopyFrom(model)
        _prefix_names(included.graph)
        for name, value in inputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [_INCLUDED + name]))
        self._nodes.extend(included.graph.node)
        self._included = included
        return [_INCLUDED + name for name in outputs]

    def serialize(self, metadata: Mapping[str, str]) -> bytes:
        """Checks the whole and returns the file's bytes.

        The types and shapes inside an included model are not checked: tools state them loosely, and the check of the
        model's answers runs it.

        Args:
            metadata: becomes the file's `metadata_props`, in order of key.
        """
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._weights)
        opset = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=self._ir_version, producer_name="sightline")
        for key in sorted(metadata):
            model.metadata_props.add(key=key, value=metadata[key])
        if self._included is not None:
            _add_parts(model, self._included)
        onnx.checker.check_model(model, full_check=self._included is None)
        return model.SerializeToString(deterministic=True)


def _prefix_names(graph: onnx.GraphProto) -> None:
    """Gives the prefix to every name of a graph and of the graphs inside its nodes; an empty name stays empty."""
    for value in (*graph.input, *graph.output):
        value.name = _INCLUDED + value.name
    for weight in graph.initializer:
        weight.name = _INCLUDED + weight.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = _INCLUDED + sparse.values.name
    del graph.value_info[:]
    for node in graph.node:
        node.name = node.name and _INCLUDED + node.name
        for names in (node.input, node.output):
            names[:] = [name and _INCLUDED + name for name in names]
        for attribute in node.attribute:
            for inner in (*[attribute.g] * attribute.HasField("g"), *attribute.graphs):
                _prefix_names(inner)


def _add_parts(model: onnx.ModelProto, included: onnx.ModelProto) -> None:
    """Adds what nodes refer to: weights, functions and the operator sets of other domains."""
    model.graph.initializer.extend(included.graph.initializer)
    model.graph.sparse_initializer.extend(included.graph.sparse_initializer)
    model.functions.extend(included.functions)
    model.opset_import.extend(each for each in included.opset_import if each.domain not in ("", "ai.onnx"))
