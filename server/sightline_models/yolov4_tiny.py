"""Recipe of the default detector: YOLOv4-tiny on COCO-80 at 416 x 416, from darknet's own files.

Place in the flow: darknet Network -> ONNX file. The one rule: the file keeps the detector contract of
`docs/guide/models.md`: uint8 RGB frames in, the best 300 boxes out, non-maximum suppression left to the server.

Method: Bochkovskiy, Wang, Liao, "YOLOv4", arXiv:2004.10934; heads as in darknet's `yolo_layer.c`, with `scale_x_y`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from sightline_models.darknet import Convolution, MaxPool, Network, Route, Upsample, Yolo, read_network
from sightline_models.detections import best_boxes, publish
from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.pixels import float_pixels

_BOX_FIELDS = 5


def compile_yolov4_tiny(cfg: bytes, weights: bytes, metadata: Mapping[str, str]) -> bytes:
    """Compiles the network to ONNX.

    The graph: IMAGES uint8 [batch, 416, 416, 3] RGB -> BOXES float32 [batch, 300, 4] (x0, y0, x1, y1 in 0..1 of the
    frame), SCORES float32 [batch, 300] (objectness times the best class), LABELS int32 [batch, 300].

    Raises:
        ModelError: files of another network.
    """
    network = read_network(cfg.decode("utf-8"), weights)
    graph = Graph("yolov4_tiny")
    images = graph.input("IMAGES", np.uint8, ["batch", network.height, network.width, 3])
    x = graph.node("Mul", [float_pixels(graph, images), graph.constant(np.array(1 / 255, dtype=np.float32))])
    heads = _Body(graph, network).emit(x)
    publish(graph, *_decode(graph, network, heads))
    return graph.serialize(metadata)


class _Body:
    """Emits layer after layer; keeps the output of each, because routes refer to earlier ones."""

    def __init__(self, graph: Graph, network: Network) -> None:
        self._graph = graph
        self._network = network
        self._values: list[str] = []
        self._strides: list[int] = []

    def emit(self, x: str) -> list[tuple[str, Yolo, int]]:
        """Returns each head's raw map with its layer and its stride (input pixels per cell)."""
        heads = []
        stride = 1
        for layer in self._network.layers:
            if isinstance(layer, Yolo):
                heads.append((x, layer, stride))
            else:
                x, stride = self._layer(layer, x, stride)
            self._values.append(x)
            self._strides.append(stride)
        return heads

    def _layer(self, layer: Convolution | Route | MaxPool | Upsample, x: str, stride: int) -> tuple[str, int]:
        match layer:
            case Convolution():
                return self._convolution(layer, x), stride * layer.stride
            case Route():
                return self._route(layer), self._strides[layer.layers[0]]
            case MaxPool():
                return self._max_pool(layer, x), stride * layer.stride
            case Upsample():
                return self._upsample(layer, x), stride // layer.stride
            case _:
                assert_never(layer)

    def _convolution(self, layer: Convolution, x: str) -> str:
        pads = (layer.padding,) * 4
        x = self._graph.conv(x, layer.weight, layer.bias, stride=layer.stride, pads=pads)
        return self._graph.node("LeakyRelu", [x], alpha=0.1) if layer.leaky else x

    def _route(self, layer: Route) -> str:
        values = [self._values[i] for i in layer.layers]
        x = values[0] if len(values) == 1 else self._graph.node("Concat", values, axis=1)
        if layer.groups == 1:
            return x
        return self._graph.nodes("Split", [x], layer.groups, axis=1)[layer.group_id]

    def _max_pool(self, layer: MaxPool, x: str) -> str:
        if layer.size != layer.stride:
            raise ModelError("darknet cfg: a maxpool whose windows overlap is not known to this recipe")
        return self._graph.node("MaxPool", [x], kernel_shape=[layer.size] * 2, strides=[layer.stride] * 2)

    def _upsample(self, layer: Upsample, x: str) -> str:
        scales = self._graph.constant(np.array([1, 1, layer.stride, layer.stride], dtype=np.float32))
        return self._graph.node(
            "Resize",
            [x, "", scales],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )


def _decode(graph: Graph, network: Network, heads: list[tuple[str, Yolo, int]]) -> tuple[str, str, str]:
    rows = [_rows(graph, network, *head) for head in heads]
    boxes = graph.node("Concat", [row[0] for row in rows], axis=1)
    scores = graph.node("Concat", [row[1] for row in rows], axis=1)
    labels = graph.node("Concat", [row[2] for row in rows], axis=1)
    return best_boxes(graph, boxes, scores, labels)


def _rows(graph: Graph, network: Network, head: str, yolo: Yolo, stride: int) -> tuple[str, str, str]:
    """Turns a head's map into boxes [B, n, 4], scores [B, n] and labels [B, n]; n = anchors x cells."""
    width, height, anchors = network.width // stride, network.height // stride, len(yolo.anchors)
    cells, fields = width * height, _BOX_FIELDS + yolo.classes
    x = _reshape(graph, head, [0, anchors, fields, cells])
    x = graph.node("Transpose", [x], perm=[0, 1, 3, 2])
    x = _reshape(graph, x, [0, anchors * cells, fields])
    sizes = graph.constant(np.array([2, 2, 1, yolo.classes], dtype=np.int64))
    centre, extent, objectness, classes = graph.nodes("Split", [x, sizes], 4, axis=2)
    boxes = _boxes(graph, network, yolo, (width, height), centre, extent)
    # The sigmoid is monotone, so the best class is found before it and only one number per row goes through it.
    best = graph.node("ReduceMax", [classes], axes=[2], keepdims=1)
    scores = graph.node("Mul", [graph.node("Sigmoid", [objectness]), graph.node("Sigmoid", [best])])
    scores = _reshape(graph, scores, [0, anchors * cells])
    return boxes, scores, graph.node("ArgMax", [classes], axis=2, keepdims=0)


def _boxes(graph: Graph, network: Network, yolo: Yolo, grid: tuple[int, int], centre: str, extent: str) -> str:
    width, height = grid
    anchors = len(yolo.anchors)
    ys, xs = np.mgrid[0:height, 0:width]
    cells = np.tile(np.stack([xs.ravel(), ys.ravel()], axis=1), (anchors, 1)).astype(np.float64)
    pixels = np.repeat(np.array(yolo.anchors, dtype=np.float64), width * height, axis=0)
    shift = (cells - (yolo.scale_x_y - 1) / 2) / [width, height]
    scale = np.full(2, yolo.scale_x_y) / [width, height]
    half = pixels / [network.width, network.height] / 2
    middle = graph.node("Mul", [graph.node("Sigmoid", [centre]), graph.constant(scale.astype(np.float32))])
    middle = graph.node("Add", [middle, graph.constant(shift.astype(np.float32))])
    reach = graph.node("Mul", [graph.node("Exp", [extent]), graph.constant(half.astype(np.float32))])
    corners = [graph.node("Sub", [middle, reach]), graph.node("Add", [middle, reach])]
    boxes = graph.node("Concat", corners, axis=2)
    zero, one = (graph.constant(np.array(v, dtype=np.float32)) for v in (0, 1))
    return graph.node("Clip", [boxes, zero, one])


def _reshape(graph: Graph, x: str, shape: list[int]) -> str:
    return graph.node("Reshape", [x, graph.constant(np.array(shape, dtype=np.int64))])
