"""Translates a part of a Paddle network to nodes of an ONNX graph.

Place in the flow: Network -> nodes of a `Graph` -> recipe. The one rule: an operator, an input or an attribute that is
not known here is an error, so that no network is translated to another one.

Batch norms and biases are folded into the convolution before them. Only the part of the network that leads to the
wanted variables is translated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sightline_models.errors import ModelError
from sightline_models.graph import FloatArray, Graph, fold_batch_norm
from sightline_models.paddle import Attribute, Network, Operator

_CONVOLUTIONS = frozenset({"conv2d", "depthwise_conv2d"})


def translate(graph: Graph, network: Network, feeds: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Adds the nodes that compute `wanted` to the graph.

    Args:
        feeds: values of the graph by the Paddle variable that they stand for.
        wanted: names of Paddle variables.

    Returns:
        The values of the graph for `wanted`, in their order.

    Raises:
        ModelError: an operator or an attribute that is not known here, or a variable that nothing computes.
    """
    translation = _Translation(graph, network, feeds, wanted)
    for operator in translation.operators:
        translation.add(operator)
    return [translation.value(name) for name in wanted]


def leading_to(network: Network, wanted: Sequence[str]) -> list[Operator]:
    """The operators that compute `wanted`, in the order in which they run; those of the feeds are left out."""
    needed, kept = set(wanted), []
    for operator in reversed(network.operators):
        if operator.kind != "feed" and any(needed & set(names) for names in operator.outputs.values()):
            needed.update(name for names in operator.inputs.values() for name in names)
            kept.append(operator)
    return kept[::-1]


class _Translation:
    """The values of the graph by Paddle variable, while the operators are added one after the other."""

    def __init__(self, graph: Graph, network: Network, feeds: Mapping[str, str], wanted: Sequence[str]) -> None:
        self._graph = graph
        self._parameters = network.parameters
        self._values = dict(feeds)
        self._folded: set[int] = set()
        self.operators = leading_to(network, wanted)
        self._readers: dict[str, list[Operator]] = {name: [] for name in wanted}
        self._wanted = frozenset(wanted)
        for operator in self.operators:
            for name in {name for names in operator.inputs.values() for name in names}:
                self._readers.setdefault(name, []).append(operator)

    def value(self, name: str) -> str:
        """The graph's value of a variable; a parameter becomes a weight when it is first read."""
        if name not in self._values:
            if name not in self._parameters:
                raise ModelError(f"paddle: nothing computes the variable {name}; the program is of another network")
            self._values[name] = self._graph.constant(self._parameters[name])
        return self._values[name]

    def add(self, operator: Operator) -> None:
        """Adds one operator, unless it was folded into the one before it."""
        if id(operator) in self._folded:
            return
        slots, emit = _EMITTERS.get(operator.kind, (frozenset[str](), None))
        if emit is None:
            raise ModelError(f"paddle: the operator {operator.kind} is not known to this reader")
        if other := sorted(slot for slot, names in operator.inputs.items() if names and slot not in slots):
            raise ModelError(f"paddle: the input {other[0]} of {operator.kind} is not known to this reader")
        emit(self, operator)

    def node(self, onnx: str, operator: Operator, *more: str, **attributes: object) -> None:
        """Adds one ONNX node that reads X and writes Out."""
        inputs = [self.value(operator.input("X")), *more]
        self._values[operator.output("Out")] = self._graph.node(onnx, inputs, **attributes)

    def convolution(self, operator: Operator) -> None:
        """A convolution with the batch norm or the bias that follows it."""
        require(operator, dilations=(1, 1), data_format="NCHW", padding_algorithm="EXPLICIT")
        weight, bias, output = self._weights(operator)
        rows, columns = integers(operator, "paddings", 2)
        stride, other = integers(operator, "strides", 2)
        if stride != other:
            raise ModelError(f"paddle: {operator.kind} has the strides {stride}, {other}; expected equal ones")
        pads = (rows, columns, rows, columns)
        (groups,) = integers(operator, "groups", 1)
        x = self.value(operator.input("Input"))
        self._values[output] = self._graph.conv(x, weight, bias, stride=stride, pads=pads, groups=groups)

    def _weights(self, operator: Operator) -> tuple[FloatArray, FloatArray, str]:
        """Weight and bias of a convolution, what is folded in included, and the variable that they compute."""
        weight, output = self._parameter(operator.input("Filter")), operator.output("Output")
        follower = self._follower(output)
        if follower is None:
            return weight, np.zeros(len(weight), np.float32), output
        self._folded.add(id(follower))
        if follower.kind == "elementwise_add":
            return weight, self._parameter(follower.input("Y")), follower.output("Out")
        require(follower, data_layout="NCHW", is_test=True, fuse_with_relu=False)
        weight, bias = self._normalized(weight, follower)
        return weight, bias, follower.output("Y")

    def _follower(self, output: str) -> Operator | None:
        """The one reader of a convolution's output if it is a batch norm or adds a parameter per channel."""
        readers = self._readers.get(output, [])
        if len(readers) != 1 or output in self._wanted:
            return None
        (reader,) = readers
        adds_bias = reader.kind == "elementwise_add" and reader.attributes.get("axis") == 1
        adds_bias = adds_bias and reader.input("X") == output and reader.input("Y") in self._parameters
        return reader if adds_bias or reader.kind == "batch_norm" else None

    def _normalized(self, weight: FloatArray, norm: Operator) -> tuple[FloatArray, FloatArray]:
        scale, shift, mean, variance = (
            self._parameter(norm.input(slot)) for slot in ("Scale", "Bias", "Mean", "Variance")
        )
        (epsilon,) = numbers(norm, "epsilon", 1)
        return fold_batch_norm(weight, scale=scale, shift=shift, mean=mean, variance=variance, epsilon=epsilon)

    def _parameter(self, name: str) -> FloatArray:
        if name not in self._parameters:
            raise ModelError(f"paddle: {name} is not a parameter; the program is of another network")
        return self._parameters[name]

    def elementwise(self, operator: Operator) -> None:
        """A sum or a product of two variables whose shapes broadcast from the last axis."""
        require(operator, axis=-1)
        onnx = {"elementwise_add": "Add", "elementwise_mul": "Mul"}[operator.kind]
        self.node(onnx, operator, self.value(operator.input("Y")))

    def unary(self, operator: Operator) -> None:
        """An activation without attributes, or the square root."""
        self.node({"relu": "Relu", "sigmoid": "Sigmoid", "sqrt": "Sqrt"}[operator.kind], operator)

    def hard_swish(self, operator: Operator) -> None:
        """X times the hard sigmoid of slope 1/6, as ONNX defines it."""
        require(operator, threshold=6.0, scale=6.0, offset=3.0)
        self.node("HardSwish", operator)

    def hard_sigmoid(self, operator: Operator) -> None:
        """The line `slope` x + `offset`, cut off at 0 and 1."""
        (slope,), (offset,) = numbers(operator, "slope", 1), numbers(operator, "offset", 1)
        self.node("HardSigmoid", operator, alpha=slope, beta=offset)

    def average(self, operator: Operator) -> None:
        """The mean of each channel."""
        require(operator, pooling_type="avg", adaptive=True, ksize=(1, 1), data_format="NCHW")
        self.node("GlobalAveragePool", operator)

    def scale(self, operator: Operator) -> None:
        """`scale` x + `bias`; the step that changes nothing is left away."""
        require(operator, bias_after_scale=True)
        (factor,), (bias,) = numbers(operator, "scale", 1), numbers(operator, "bias", 1)
        x = self.value(operator.input("X"))
        for onnx, number, neutral in (("Mul", factor, 1.0), ("Add", bias, 0.0)):
            if number != neutral:
                x = self._graph.node(onnx, [x, self._graph.constant(np.array(number, dtype=np.float32))])
        self._values[operator.output("Out")] = x

    def reshape(self, operator: Operator) -> None:
        """Another shape, in which one size is -1 and follows from the others."""
        shape = np.array(integers(operator, "shape"), dtype=np.int64)
        self.node("Reshape", operator, self._graph.constant(shape))

    def transpose(self, operator: Operator) -> None:
        """Another order of the axes."""
        self.node("Transpose", operator, perm=list(integers(operator, "axis")))

    def softmax(self, operator: Operator) -> None:
        """Softmax over one axis."""
        self.node("Softmax", operator, axis=integers(operator, "axis", 1)[0])

    def matmul(self, operator: Operator) -> None:
        """A matrix product, neither side transposed."""
        require(operator, trans_x=False, trans_y=False)
        self.node("MatMul", operator, self.value(operator.input("Y")))

    def concat(self, operator: Operator) -> None:
        """Several variables one after the other along one axis."""
        values = [self.value(name) for name in operator.inputs["X"]]
        axis = integers(operator, "axis", 1)[0]
        self._values[operator.output("Out")] = self._graph.node("Concat", values, axis=axis)

    def split(self, operator: Operator) -> None:
        """Equal parts along one axis."""
        names = operator.outputs["Out"]
        require(operator, sections=(), num=len(names))
        axis = integers(operator, "axis", 1)[0]
        parts = self._graph.nodes("Split", [self.value(operator.input("X"))], len(names), axis=axis)
        self._values.update(zip(names, parts, strict=True))

    def nearest(self, operator: Operator) -> None:
        """Nearest-neighbour enlargement by a factor for rows and columns."""
        require(operator, interp_method="nearest", align_corners=False, data_layout="NCHW")
        scales = self._graph.constant(np.array([1, 1, *numbers(operator, "scale", 2)], dtype=np.float32))
        how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        self.node("Resize", operator, "", scales, **how)


def require(operator: Operator, **expected: Attribute) -> None:
    """Raises `ModelError` unless the attributes have these values; a float counts as the number that it rounds to."""
    for name, value in expected.items():
        found = operator.attributes.get(name)
        if type(found) is not type(value) or found != value:
            raise ModelError(f"paddle: {operator.kind} has {name} {found!r}; this reader knows {value!r} only")


def integers(operator: Operator, name: str, count: int | None = None) -> tuple[int, ...]:
    """An attribute of whole numbers, `count` of them. Raises `ModelError` for any other."""
    found = operator.attributes.get(name)
    listed = found if isinstance(found, tuple) else (found,)
    whole = tuple(value for value in listed if isinstance(value, int) and not isinstance(value, bool))
    if len(whole) != len(listed) or count not in (None, len(whole)):
        raise ModelError(f"paddle: {operator.kind} has {name} {found!r}; expected {count or 'some'} whole numbers")
    return whole


def numbers(operator: Operator, name: str, count: int) -> tuple[float, ...]:
    """An attribute of `count` floats. Raises `ModelError` for any other."""
    found = operator.attributes.get(name)
    listed = found if isinstance(found, tuple) else (found,)
    floats = tuple(value for value in listed if isinstance(value, float))
    if len(floats) != len(listed) or len(floats) != count:
        raise ModelError(f"paddle: {operator.kind} has {name} {found!r}; expected {count} numbers")
    return floats


_Emitter = tuple[frozenset[str], Callable[[_Translation, Operator], None]]
_X, _XY = frozenset({"X"}), frozenset({"X", "Y"})

_EMITTERS: Mapping[str, _Emitter] = {
    **dict.fromkeys(_CONVOLUTIONS, (frozenset({"Input", "Filter"}), _Translation.convolution)),
    **dict.fromkeys(("relu", "sigmoid", "sqrt"), (_X, _Translation.unary)),
    **dict.fromkeys(("elementwise_add", "elementwise_mul"), (_XY, _Translation.elementwise)),
    "hard_swish": (_X, _Translation.hard_swish),
    "hard_sigmoid": (_X, _Translation.hard_sigmoid),
    "pool2d": (_X, _Translation.average),
    "scale": (_X, _Translation.scale),
    "reshape2": (_X, _Translation.reshape),
    "transpose2": (_X, _Translation.transpose),
    "softmax": (_X, _Translation.softmax),
    "matmul_v2": (_XY, _Translation.matmul),
    "concat": (_X, _Translation.concat),
    "split": (_X, _Translation.split),
    "nearest_interp_v2": (_X, _Translation.nearest),
}
"""By operator: the inputs that are read, and the method that adds it."""
