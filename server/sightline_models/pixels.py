"""The first nodes of a graph: from the server's uint8 pixels to a network's own numbers.

Place in the flow: input of the contract -> first convolution. The one rule: the file does its own normalisation.
"""

from __future__ import annotations

import numpy as np

from sightline_models.adoption import Normalization
from sightline_models.graph import Graph

_IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def float_pixels(graph: Graph, images: str) -> str:
    """uint8 [B, H, W, 3] as float32 [B, 3, H, W], levels unchanged."""
    return graph.node("Cast", [graph.node("Transpose", [images], perm=[0, 3, 1, 2])], to=1)


def imagenet_pixels(graph: Graph, pixels: str) -> str:
    """Levels 0..255 as (x / 255 - mean) / standard deviation of ImageNet, float32 [B, 3, H, W]."""
    return normalized_pixels(graph, pixels, _IMAGENET)


def normalized_pixels(graph: Graph, pixels: str, normalization: Normalization) -> str:
    """Levels 0..255 as a network's own numbers, float32 [B, 3, H, W]."""
    mean, std = (
        np.array(values, dtype=np.float64).reshape(3, 1, 1) for values in (normalization.mean, normalization.std)
    )
    factor = 1 / (normalization.scale * std)
    scaled = graph.node("Mul", [pixels, graph.constant(factor.astype(np.float32))])
    return graph.node("Sub", [scaled, graph.constant((mean / std).astype(np.float32))])
