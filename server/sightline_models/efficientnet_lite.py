"""Recipe of the embedder EfficientNet-Lite2: at 260 x 260, 1280 numbers a crop, from a PyTorch checkpoint.

Place in the flow: {name: array} -> ONNX file. The one rule: the file keeps the embedder contract of
`docs/guide/models.md`: uint8 RGB crops in, L2-normalised embeddings out, the classifier left away.

Method: Tan, Le, "EfficientNet", arXiv:1905.11946, in its Lite form (ReLU6, no squeeze-and-excitation, stem and head
not scaled). The weights come from TensorFlow, so convolutions pad the way of its SAME, more on the far side, and
batch norm has epsilon 1e-3.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sightline_models.errors import ModelError
from sightline_models.graph import FloatArray, Graph, fold_batch_norm
from sightline_models.pixels import float_pixels
from sightline_models.torch_legacy import Array, read_state

SIZE = 260
"""Height and width of a crop, pixels."""
DIMENSION = 1280

_BLOCKS = 21
_HALVING_BLOCKS = frozenset({1, 4, 7, 15})
_EPSILON = 1e-3
_PIXEL_MEAN, _PIXEL_SPAN = 127.0, 128.0


def compile_efficientnet_lite2(checkpoint: bytes, metadata: Mapping[str, str]) -> bytes:
    """Compiles the network to ONNX.

    The graph: CROPS uint8 [batch, 260, 260, 3] RGB -> EMBEDDINGS float32 [batch, 1280], each of length 1.

    Raises:
        ModelError: a checkpoint of another network.
    """
    graph = Graph("efficientnet_lite2")
    crops = graph.input("CROPS", np.uint8, ["batch", SIZE, SIZE, 3])
    x = lite2_features(graph, checkpoint, float_pixels(graph, crops))
    x = graph.node("LpNormalization", [x], axis=1, p=2)
    graph.output(x, "EMBEDDINGS", np.float32, ["batch", DIMENSION])
    return graph.serialize(metadata)


def lite2_features(graph: Graph, checkpoint: bytes, pixels: str) -> str:
    """Adds the network up to its features [B, 1280]; `pixels` float32 [B, 3, 260, 260], levels 0..255.

    Raises:
        ModelError: a checkpoint of another network.
    """
    emitter = _Emitter(graph, read_state(checkpoint))
    try:
        return emitter.features(pixels)
    except KeyError as error:
        raise ModelError(f"checkpoint: holds no tensor {error}; it is of another network") from error


class _Emitter:
    """Walks the network once; `_size` is the height and width of the current map."""

    def __init__(self, graph: Graph, state: Mapping[str, Array]) -> None:
        self._graph = graph
        self._state = state
        self._size = SIZE
        self._zero, self._six = (graph.constant(np.array(v, dtype=np.float32)) for v in (0, 6))

    def features(self, pixels: str) -> str:
        x = self._conv(self._normalized(pixels), "_conv_stem", "_bn0", stride=2, activate=True)
        for index in range(_BLOCKS):
            x = self._block(x, index)
        x = self._conv(x, "_conv_head", "_bn1", activate=True)
        x = self._graph.node("GlobalAveragePool", [x])
        return self._graph.node("Flatten", [x], axis=1)

    def _normalized(self, pixels: str) -> str:
        x = self._graph.node("Sub", [pixels, self._scalar(_PIXEL_MEAN)])
        return self._graph.node("Mul", [x, self._scalar(1 / _PIXEL_SPAN)])

    def _block(self, x: str, index: int) -> str:
        """One inverted bottleneck: expand, convolve per channel, project; added to its input where shapes allow."""
        stem = f"_blocks.{index}."
        stride = 2 if index in _HALVING_BLOCKS else 1
        y = x
        if index > 0:
            y = self._conv(y, stem + "_expand_conv", stem + "_bn0", activate=True)
        y = self._conv(y, stem + "_depthwise_conv", stem + "_bn1", stride=stride, activate=True, per_channel=True)
        y = self._conv(y, stem + "_project_conv", stem + "_bn2")
        return self._graph.node("Add", [y, x]) if self._keeps_shape(stem, stride) else y

    def _keeps_shape(self, stem: str, stride: int) -> bool:
        first = self._state.get(stem + "_expand_conv.weight")
        last = self._state[stem + "_project_conv.weight"]
        return stride == 1 and first is not None and first.shape[1] == last.shape[0]

    def _conv(
        self, x: str, conv: str, norm: str, *, stride: int = 1, activate: bool = False, per_channel: bool = False
    ) -> str:
        weight, bias = self._folded(conv, norm)
        before, after = self._same_padding(weight.shape[2], stride)
        pads = (before, before, after, after)
        groups = weight.shape[0] if per_channel else 1
        x = self._graph.conv(x, weight, bias, stride=stride, pads=pads, groups=groups)
        return self._graph.node("Clip", [x, self._zero, self._six]) if activate else x

    def _same_padding(self, kernel: int, stride: int) -> tuple[int, int]:
        """TensorFlow's SAME: the output is the input's size over the stride, rounded up."""
        output = -(-self._size // stride)
        total = max((output - 1) * stride + kernel - self._size, 0)
        self._size = output
        return total // 2, total - total // 2

    def _folded(self, conv: str, norm: str) -> tuple[FloatArray, FloatArray]:
        return fold_batch_norm(
            self._state[f"{conv}.weight"],
            scale=self._state[f"{norm}.weight"],
            shift=self._state[f"{norm}.bias"],
            mean=self._state[f"{norm}.running_mean"],
            variance=self._state[f"{norm}.running_var"],
            epsilon=_EPSILON,
        )

    def _scalar(self, value: float) -> str:
        return self._graph.constant(np.array(value, dtype=np.float32))
