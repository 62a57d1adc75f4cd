"""The recipes of the trial: which convolutions of a detector run in int8, and how the ranges of its tensors are chosen.

Rule: layers are named by their position in the graph, so that a recipe does not depend on the names of nodes. A
convolution with an activation after it belongs to the body; one without is a head, whose output becomes boxes and
scores.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ACTIVATIONS = frozenset({"LeakyRelu", "Relu"})


class RangeChoice(StrEnum):
    """The ways to choose the range that the 256 steps of a tensor cover."""

    EXTREMES = "extremes"
    """From the lowest to the highest value seen."""
    PERCENTILE = "percentile"
    """Without the ten-thousandth part of the values at each end."""
    LEAST_SQUARES = "least squares"
    """The range of the smallest squared error, after the activation where one follows."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The convolutions of a detector by the names of their nodes, in the order of the graph."""

    body: tuple[str, ...]
    heads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A choice of layers and ranges.

    positions: the layers of the body that run in int8, by their number in it, from 0; none means all.
    heads: the heads run in int8 as well.
    per_channel: a scale for each output channel of the weights, else one for each layer.
    reduce_range: weights of 7 bits, for CPUs without VNNI, whose sums of products saturate.
    """

    name: str
    ranges: RangeChoice = RangeChoice.LEAST_SQUARES
    positions: tuple[int, ...] = ()
    heads: bool = False
    per_channel: bool = True
    reduce_range: bool = False

    def nodes(self, layers: Layers) -> tuple[str, ...]:
        """The nodes that run in int8."""
        body = tuple(layers.body[place] for place in self.positions) or layers.body
        return body + (layers.heads if self.heads else ())


RECIPES = (
    Recipe("all", heads=True),
    Recipe("body"),
    Recipe("body, extremes", RangeChoice.EXTREMES),
    Recipe("body, percentile", RangeChoice.PERCENTILE),
    Recipe("body, one scale", per_channel=False),
    Recipe("body, 7 bits", reduce_range=True),
    Recipe("body without the first layer", positions=tuple(range(1, 19))),
    Recipe("last 13", RangeChoice.EXTREMES, tuple(range(6, 19))),
    Recipe("last 9", RangeChoice.EXTREMES, tuple(range(10, 19))),
    Recipe("last 5", RangeChoice.EXTREMES, tuple(range(14, 19))),
    Recipe("largest layer", RangeChoice.EXTREMES, (18,)),
    Recipe("a wide layer", positions=(14,)),
    Recipe("a wide layer, extremes", RangeChoice.EXTREMES, (14,)),
    Recipe("least sensitive layers", RangeChoice.EXTREMES, (4, 8, 9, 12)),
)
"""The positions are those of the default detector, whose body has 19 layers."""


def layers_of(nodes: Iterable[Any]) -> Layers:
    """The convolutions among the nodes of an ONNX graph. Raises `ValueError` where none has an activation."""
    known = list(nodes)
    activated = {name for node in known if node.op_type in ACTIVATIONS for name in node.input}
    convolutions = [node for node in known if node.op_type == "Conv"]
    body = tuple(node.name for node in convolutions if node.output[0] in activated)
    if not body:
        raise ValueError("the model has no convolution with an activation after it; the recipes are for YOLO's kind")
    return Layers(body, tuple(node.name for node in convolutions if node.output[0] not in activated))
