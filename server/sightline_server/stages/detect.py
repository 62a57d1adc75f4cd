"""`Frame` -> detections: the input of the detector, and what is made of its answer.

Rule: pure. The call itself goes through the frames batcher, so that photos of different callers share it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box, Placement
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.items import Detection, Scene
from sightline_server.domain.models import DetectorSpec
from sightline_server.domain.vocabulary import Vocabulary
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import DetectionSettings
from sightline_server.stages.model_input import model_input

MOST_DETECTIONS = 100
"""Most detections of one photo that are considered."""

RawDetections = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
"""Boxes [N,4] xyxy in 0..1 of the detector's input, scores [N], labels [N]: one image's answer."""


def detector_input(frame: Frame, spec: DetectorSpec) -> ModelInput:
    """The whole frame as the detector's preprocess wants it."""
    return model_input(frame, frame.pixels, spec.width, spec.height, spec.preprocess)


def vocabulary(spec: DetectorSpec, settings: DetectionSettings) -> Vocabulary:
    """The detector's vocabulary, with the operator's labels where the settings name any."""
    return spec.vocabulary.with_overrides(settings.person_labels, settings.not_products)


def finds_people(spec: DetectorSpec, settings: DetectionSettings) -> bool:
    """Returns whether the detector has a label for people, who must then not be searched."""
    return not vocabulary(spec, settings).people.isdisjoint(spec.labels)


def split_answer(answer: Mapping[str, NDArray[Any]], batch: int, spec: DetectorSpec) -> list[RawDetections]:
    """The detector's output tensors as one answer per image, whatever their values; `to_detections` judges those.

    Raises `SightlineError` of kind MODEL_ANSWER when shapes are off.
    """
    boxes, scores, labels = answer["BOXES"], answer["SCORES"], answer["LABELS"]
    count = scores.shape[-1] if scores.ndim == 2 else -1
    if boxes.shape != (batch, count, 4) or scores.shape != (batch, count) or labels.shape != (batch, count):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the detector's answer has the wrong shape")
    return list(zip(boxes, scores, labels, strict=True))


def check_values(raw: RawDetections, spec: DetectorSpec) -> None:
    """Raises `SightlineError` of kind MODEL_ANSWER when a value for one image is out of its range."""
    boxes, scores, labels = raw
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the detector's answer is not finite")
    if labels.size and not (int(labels.min()) >= 0 and int(labels.max()) < len(spec.labels)):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the detector's answer has an unknown label")


def to_scene(raw: RawDetections, place: Placement, spec: DetectorSpec, settings: DetectionSettings) -> Scene:
    """The products and the people among the detector's answers for one image, best first, each object once.

    Raises `SightlineError` of kind MODEL_ANSWER when a value is not finite or a label unknown.
    """
    check_values(raw, spec)
    words = vocabulary(spec, settings)
    products, people = [], []
    for found in to_detections(raw, place, spec, settings):
        if found.label in words.people:
            people.append(found)
        elif found.label not in words.not_products:
            products.append(found)
    # A product's label never replaces a person: people are not part of `one_word_each`.
    return Scene(one_word_each(products[:MOST_DETECTIONS], settings.same_box_iou), tuple(people[:MOST_DETECTIONS]))


def to_detections(
    raw: RawDetections, place: Placement, spec: DetectorSpec, settings: DetectionSettings
) -> list[Detection]:
    """Detections of every label after suppression within each class, best first; too small ones are left out."""
    boxes, scores, labels = raw
    sure = np.flatnonzero(scores >= least_scores(labels, spec, settings))
    kept = suppress(place.to_image(boxes[sure]), scores[sure], labels[sure], settings)
    detections = listed(raw, sure[np.asarray(kept, np.intp)], place, spec, settings)
    detections.sort(key=lambda found: (-found.score, found.box.x_min, found.box.y_min))
    return detections


def listed(
    raw: RawDetections, indices: NDArray[np.intp], place: Placement, spec: DetectorSpec, settings: DetectionSettings
) -> list[Detection]:
    """The detections with these indices, in this order, without those that are too small."""
    boxes, scores, labels = raw
    in_image = place.to_image(boxes[indices])
    detections = []
    for index, box in zip(indices, in_image, strict=True):
        x_min, y_min, x_max, y_max = (float(value) for value in box)
        if not (x_min < x_max and y_min < y_max) or (x_max - x_min) * (y_max - y_min) < settings.min_area:
            continue
        label = spec.labels[int(labels[index])]
        detections.append(Detection(Box(x_min, y_min, x_max, y_max), label, float(scores[index])))
    return detections


def least_scores(labels: NDArray[np.int32], spec: DetectorSpec, settings: DetectionSettings) -> NDArray[np.float32]:
    """The confidence that each of the detections [N] needs: people have their own threshold."""
    people = vocabulary(spec, settings).people
    of_label = [settings.person_min_score if label in people else settings.min_score for label in spec.labels]
    return np.array(of_label, np.float32)[labels]


def one_word_each(detections: Sequence[Detection], same_box_iou: float) -> tuple[Detection, ...]:
    """Of detections that are nearly the same box, the best: one sofa is found as couch and as chair."""
    kept: list[Detection] = []
    for found in detections:
        if all(found.box.iou(better.box) <= same_box_iou for better in kept):
            kept.append(found)
    return tuple(kept)


def suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int32], settings: DetectionSettings
) -> Sequence[int]:
    """Indices that survive non-maximum suppression within each class."""
    if not len(boxes):
        return ()
    as_rectangles = boxes.astype(np.float64)
    as_rectangles[:, 2:] -= as_rectangles[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(as_rectangles.tolist(), scores.tolist(), labels.tolist(), 0.0, settings.nms_iou)
    return [int(index) for index in np.asarray(kept).ravel()]
