"""Recipe of the pair embedder: EfficientNet-Lite2 and PP-LCNetV2-base in one graph at 260 x 260, 2304 numbers a crop.

Place in the flow: checkpoint and Paddle Network -> ONNX file. The one rule: the file keeps the embedder contract of
`docs/guide/models.md`: uint8 RGB crops in, L2-normalised embeddings out, both classifiers left away.

The two networks err on different products. Each one's features are brought to length 1, so that both weigh the same in
the cosine of the whole: it is the mean of the two cosines.

Method: arXiv:1905.11946 for EfficientNet; PP-LCNetV2 is PaddleClas's successor of PP-LCNet, arXiv:2109.15099. Its
features are the mean of the last map, before the last convolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sightline_models.efficientnet_lite import DIMENSION as LITE2_DIMENSION
from sightline_models.efficientnet_lite import SIZE, lite2_features
from sightline_models.graph import Graph
from sightline_models.paddle import Network, read_network
from sightline_models.paddle_graph import translate
from sightline_models.pixels import float_pixels, imagenet_pixels

LCNETV2_DIMENSION = 1024
DIMENSION = LITE2_DIMENSION + LCNETV2_DIMENSION


def compile_pair(checkpoint: bytes, program: bytes, parameters: bytes, metadata: Mapping[str, str]) -> bytes:
    """Compiles both networks to one ONNX file.

    The graph: CROPS uint8 [batch, 260, 260, 3] RGB -> EMBEDDINGS float32 [batch, 2304], each of length 1: first the
    numbers of EfficientNet-Lite2, then those of PP-LCNetV2.

    Raises:
        ModelError: files of other networks.
    """
    network = read_network(program, parameters)
    graph = Graph("pair_lite2_lcnetv2")
    crops = graph.input("CROPS", np.uint8, ["batch", SIZE, SIZE, 3])
    pixels = float_pixels(graph, crops)
    features = [lite2_features(graph, checkpoint, pixels), lcnetv2_features(graph, network, pixels)]
    halves = [graph.node("LpNormalization", [half], axis=1, p=2) for half in features]
    both = graph.node("Concat", halves, axis=1)
    both = graph.node("Mul", [both, graph.constant(np.array(1 / math.sqrt(2), dtype=np.float32))])
    graph.output(both, "EMBEDDINGS", np.float32, ["batch", DIMENSION])
    return graph.serialize(metadata)


def lcnetv2_features(graph: Graph, network: Network, pixels: str) -> str:
    """Adds PP-LCNetV2 up to its features [B, 1024]; `pixels` float32 [B, 3, H, W], levels 0..255."""
    pooled = network.last("pool2d").output("Out")
    (features,) = translate(graph, network, {"x": imagenet_pixels(graph, pixels)}, [pooled])
    return graph.node("Flatten", [features], axis=1)
