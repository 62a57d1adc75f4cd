"""Recipe of the detector PicoDet: COCO-80 at 416 x 416, from a Paddle inference model.

Place in the flow: Paddle Network -> ONNX file. The one rule: the file keeps the detector contract of
`docs/guide/models.md`: uint8 RGB frames in, the best 300 boxes out, non-maximum suppression left to the server.

Method: Yu and others, "PP-PicoDet", arXiv:2111.00902. The network is trained on images that are stretched to its input,
so the server must stretch them too (`resize: squash`); in letterboxed images it finds a third fewer objects.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sightline_models.detections import best_boxes, publish
from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.paddle import Network, read_network
from sightline_models.paddle_graph import translate
from sightline_models.pixels import float_pixels, imagenet_pixels

SIZE = 416
"""Height and width of a frame, pixels."""


def compile_picodet(program: bytes, parameters: bytes, metadata: Mapping[str, str]) -> bytes:
    """Compiles the network to ONNX.

    The graph: IMAGES uint8 [batch, 416, 416, 3] RGB -> BOXES float32 [batch, 300, 4] (x0, y0, x1, y1 in 0..1 of the
    frame), SCORES float32 [batch, 300] (of the best class), LABELS int32 [batch, 300].

    Raises:
        ModelError: files of another network.
    """
    network = read_network(program, parameters)
    graph = Graph("picodet")
    images = graph.input("IMAGES", np.uint8, ["batch", SIZE, SIZE, 3])
    feeds = {"image": imagenet_pixels(graph, float_pixels(graph, images))}
    boxes, scores = translate(graph, network, feeds, _raw_detections(network))
    best = graph.node("ReduceMax", [scores], axes=[1], keepdims=0)
    labels = graph.node("ArgMax", [scores], axis=1, keepdims=0)
    boxes, best, labels = best_boxes(graph, boxes, best, labels)
    publish(graph, _in_parts_of_the_frame(graph, boxes), best, labels)
    return graph.serialize(metadata)


def _raw_detections(network: Network) -> tuple[str, str]:
    """The variables with the boxes [B, n, 4] in pixels of the input and the scores [B, 80, n], before suppression.

    The program divides the boxes by the factor by which an image was scaled; here the server does that.
    """
    suppression = network.last("multiclass_nms3")
    rescaled = network.producer(suppression.input("BBoxes"))
    if rescaled.kind != "elementwise_div":
        raise ModelError(f"paddle: {rescaled.kind} computes the boxes, expected elementwise_div; another network")
    return rescaled.input("X"), suppression.input("Scores")


def _in_parts_of_the_frame(graph: Graph, boxes: str) -> str:
    boxes = graph.node("Mul", [boxes, graph.constant(np.array(1 / SIZE, dtype=np.float32))])
    zero, one = (graph.constant(np.array(v, dtype=np.float32)) for v in (0, 1))
    return graph.node("Clip", [boxes, zero, one])
