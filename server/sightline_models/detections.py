"""The last nodes of a detector's graph: the best boxes of all.

Place in the flow: boxes, scores and labels of every cell -> the tensors of the detector contract. The one rule: no
non-maximum suppression; the server does that.
"""

from __future__ import annotations

import numpy as np

from sightline_models.graph import Graph

TOP_BOXES = 300
"""Boxes that leave the graph, best score first; a photo rarely has 50 above any useful threshold."""


def best_boxes(graph: Graph, boxes: str, scores: str, labels: str, count: int = TOP_BOXES) -> tuple[str, str, str]:
    """The `count` boxes of the highest score: boxes [B, n, 4], scores [B, n] and labels int32 [B, n]."""
    most = graph.constant(np.array([count], dtype=np.int64))
    best, order = graph.nodes("TopK", [scores, most], 2, axis=1)
    pick = graph.node("Unsqueeze", [order, graph.constant(np.array([2], dtype=np.int64))])
    boxes = graph.node("GatherND", [boxes, pick], batch_dims=1)
    labels = graph.node("GatherND", [labels, pick], batch_dims=1)
    return boxes, best, graph.node("Cast", [labels], to=6)


def publish(graph: Graph, boxes: str, scores: str, labels: str, count: int = TOP_BOXES) -> None:
    """Declares the outputs of the detector contract."""
    graph.output(boxes, "BOXES", np.float32, ["batch", count, 4])
    graph.output(scores, "SCORES", np.float32, ["batch", count])
    graph.output(labels, "LABELS", np.int32, ["batch", count])
