"""An exported detector as a detector of the contract.

Place in the flow: `Exported` -> bytes of an ONNX file, IMAGES uint8 [B, H, W, 3] -> BOXES, SCORES and LABELS. The one
rule: each row of the head is one box with a score for each class, and what its numbers mean is stated, not guessed;
numbers that contradict the statement are refused.

Two forms of a head are known: boxes [B, rows, 4] and scores [B, rows, classes] as two outputs (RT-DETR, D-FINE, DETR,
YOLO-NAS), and both in one output whose rows may be its last axis (YOLOv5 to YOLO11, YOLOX).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline_models.adoption import Activation, BoxFormat, Head, Normalization
from sightline_models.detections import TOP_BOXES, best_boxes, publish
from sightline_models.errors import ModelError
from sightline_models.exported import Array, Exported, shape_text
from sightline_models.graph import Graph

_EDGES = 4
_FAR = 4.0
"""No box in parts of the image reaches so far, and a head in pixels has no box that stays below it."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Values of the graph: boxes [B, n, 4], scores [B, n, classes], and objectness [B, n, 1] where the head has it."""

    boxes: str
    scores: str
    objectness: str | None
    count: int


def wrap_detector(exported: Exported, normalization: Normalization, head: Head, labels: tuple[str, ...]) -> bytes:
    """The bytes of the wrapped file.

    Raises:
        ModelError: no such outputs, shapes that do not fit `labels`, or numbers that contradict `head`.
    """
    graph, rows = (
        _joint(exported, normalization, head, labels) if head.joint else _pair(exported, normalization, head, labels)
    )
    scores, classes = _best_class(graph, rows, head.activation)
    boxes = _corners(graph, rows.boxes, head.box_format, exported.size)
    count = min(rows.count, TOP_BOXES)
    publish(graph, *best_boxes(graph, boxes, scores, classes, count), count)
    facts = {"activation": head.activation.value, "box_format": head.box_format.value}
    return graph.serialize(exported.metadata(normalization, **facts))


def _pair(exported: Exported, normalization: Normalization, head: Head, labels: tuple[str, ...]) -> tuple[Graph, _Rows]:
    logits, scores = exported.answer("--logits", head.logits)
    name, boxes = exported.answer("--boxes", head.boxes)
    if boxes.ndim != 3 or boxes.shape[2] != _EDGES:
        raise ModelError(f"{exported.path}: output {name} has shape {shape_text(boxes)}; expected [batch, rows, 4]")
    classes = len(labels) + (head.activation is Activation.SOFTMAX)
    if scores.ndim != 3 or scores.shape[1] != boxes.shape[1]:
        expected = f"[batch, {boxes.shape[1]}, classes]"
        raise ModelError(f"{exported.path}: output {logits} has shape {shape_text(scores)}; expected {expected}")
    if scores.shape[2] != classes:
        extra = " and one for no object" if head.activation is Activation.SOFTMAX else ""
        raise ModelError(
            f"{exported.path}: output {logits} has {scores.shape[2]} classes, and --labels has {len(labels)} labels"
            f"{extra}; give one label for each class, in their order"
        )
    _require_plausible(exported, boxes, scores, head)
    graph, (score_value, box_value) = exported.wrap("IMAGES", normalization, [logits, name])
    return graph, _Rows(box_value, score_value, None, boxes.shape[1])


def _joint(
    exported: Exported, normalization: Normalization, head: Head, labels: tuple[str, ...]
) -> tuple[Graph, _Rows]:
    name, answer = exported.answer("--output", head.output)
    extra = 1 if head.objectness else 0
    fields = _EDGES + extra + len(labels)
    if answer.ndim != 3 or fields not in answer.shape[1:]:
        what = "a box, objectness and" if head.objectness else "a box and"
        raise ModelError(
            f"{exported.path}: output {name} has shape {shape_text(answer)}; with the {len(labels)} labels of --labels "
            f"one axis must be {fields}, {what} a score for each label; --objectness is for heads that have it"
        )
    by_row = answer.shape[2] == fields
    rows = answer if by_row else answer.swapaxes(1, 2)
    _require_plausible(exported, rows[..., :_EDGES], rows[..., _EDGES:], head)
    graph, (value,) = exported.wrap("IMAGES", normalization, [name])
    value = value if by_row else graph.node("Transpose", [value], perm=[0, 2, 1])
    sizes = [_EDGES, *[1] * extra, len(labels)]
    parts = graph.nodes("Split", [value, graph.constant(np.array(sizes, dtype=np.int64))], len(sizes), axis=2)
    return graph, _Rows(parts[0], parts[-1], parts[1] if extra else None, rows.shape[1])


def _best_class(graph: Graph, rows: _Rows, activation: Activation) -> tuple[str, str]:
    """Scores [B, n] of the best class of each row, and its label int64 [B, n]."""
    values = rows.scores
    if activation is Activation.SOFTMAX:
        first, last, axis = (graph.constant(np.array([value], dtype=np.int64)) for value in (0, -1, 2))
        values = graph.node("Slice", [graph.node("Softmax", [values], axis=2), first, last, axis])
    best, label = graph.reduce("ReduceMax", values, [2]), graph.node("ArgMax", [values], axis=2, keepdims=0)
    # The sigmoid is monotone, so only the best class goes through it.
    best = graph.node("Sigmoid", [best]) if activation is Activation.SIGMOID else best
    if rows.objectness is not None:
        presence = graph.reduce("ReduceMax", rows.objectness, [2])
        presence = graph.node("Sigmoid", [presence]) if activation is Activation.SIGMOID else presence
        best = graph.node("Mul", [best, presence])
    return best, label


def _corners(graph: Graph, boxes: str, form: BoxFormat, size: tuple[int, int]) -> str:
    """Boxes of any format as x0, y0, x1, y1 in 0..1."""
    if form.in_pixels:
        height, width = size
        factor = np.array([1 / width, 1 / height] * 2, dtype=np.float32)
        boxes = graph.node("Mul", [boxes, graph.constant(factor)])
    if form.centred:
        halves = graph.constant(np.array([2, 2], dtype=np.int64))
        centre, extent = graph.nodes("Split", [boxes, halves], 2, axis=2)
        reach = graph.node("Mul", [extent, graph.constant(np.array(0.5, dtype=np.float32))])
        boxes = graph.node("Concat", [graph.node("Sub", [centre, reach]), graph.node("Add", [centre, reach])], axis=2)
    zero, one = (graph.constant(np.array(value, dtype=np.float32)) for value in (0, 1))
    return graph.node("Clip", [boxes, zero, one])


def _require_plausible(exported: Exported, boxes: Array, scores: Array, head: Head) -> None:
    """Refuses what the answers to two images contradict: clipped boxes and squeezed scores would go unnoticed."""
    reach = float(np.abs(boxes).max(initial=0))
    if (reach > _FAR) != head.box_format.in_pixels:
        found = "pixels" if reach > _FAR else "parts of the image"
        other = head.box_format.value.removesuffix("-pixels") + ("-pixels" if reach > _FAR else "")
        raise ModelError(f"{exported.path}: boxes reach {reach:.3g}, so they are in {found}; use --box-format {other}")
    probabilities = bool((scores >= 0).all() and (scores <= 1).all())
    if probabilities != (head.activation is Activation.NONE):
        found = "are probabilities already" if probabilities else "are not probabilities yet"
        other = "none" if probabilities else "sigmoid"
        raise ModelError(
            f"{exported.path}: scores from {scores.min():.3g} to {scores.max():.3g} {found}; use --activation {other}"
        )
