"""The detector's answers of low confidence -> objects without a class, and what may be a person. Pure.

Rule: the detector may be wrong about these, so they never replace a detection of the usual confidence. In doubt a part
of the photo is a person: detections that are mostly on people, however faint these are, are left out.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box, Placement, Point
from sightline_server.domain.items import UNSURE_LABEL, Detection, Scene
from sightline_server.domain.models import DetectorSpec
from sightline_server.settings import DetectionSettings
from sightline_server.stages.detect import MOST_DETECTIONS, RawDetections, least_scores, listed, vocabulary
from sightline_server.stages.people import mostly_covered

MOST_UNSURE = 16
"""Most objects without a class in one photo."""


def with_unsure(
    scene: Scene, raw: RawDetections, place: Placement, spec: DetectorSpec, settings: DetectionSettings, lowest: float
) -> Scene:
    """`scene`, which was made of `raw`, with the detections of a confidence of at least `lowest` that it lacks.

    Labels that are not products, and people, do not become objects. Of detections that overlap by more than
    `nms_iou` only the best is kept, whatever their labels.
    """
    words = vocabulary(spec, settings)
    low = below_usual(raw, spec, settings, lowest)
    faint = listed(raw, low, place, spec, settings)
    people = tuple(found for found in faint if found.label in words.people)
    kept: list[Detection] = []
    for found in faint:
        if len(kept) == MOST_UNSURE:
            break
        others = (*scene.products, *kept)
        if (
            found.label not in words.people
            and found.label not in words.not_products
            and all(found.box.iou(other.box) <= settings.nms_iou for other in others)
            and not mostly_covered(found.box, (*scene.people, *people), settings)
        ):
            kept.append(replace(found, label=UNSURE_LABEL))
    return replace(scene, unsure=tuple(kept), unsure_people=people)


def below_usual(raw: RawDetections, spec: DetectorSpec, settings: DetectionSettings, lowest: float) -> NDArray[np.intp]:
    """Indices of the detections of at least `lowest` that lack the usual confidence, best first."""
    _, scores, labels = raw
    low = np.flatnonzero((scores >= np.float32(lowest)) & (scores < least_scores(labels, spec, settings)))
    return low[np.argsort(-scores[low], kind="stable")][:MOST_DETECTIONS]


def unsure_at_tap(tap: Point, scene: Scene) -> Detection | None:
    """The best detection of low confidence that covers the tap; None where there may be a person."""
    if may_be_person(tap, scene):
        return None
    return next((found for found in scene.unsure if found.box.covers(tap)), None)


def may_be_person(tap: Point, scene: Scene) -> bool:
    """Returns whether the tap is in the rectangle of a person or of what may be one."""
    return any(person.box.covers(tap) for person in (*scene.people, *scene.unsure_people))


def people_boxes(scene: Scene, settings: DetectionSettings) -> list[Box]:
    """The rectangles of people and of what may be people, as large as they are hidden."""
    return [person.box.grown(settings.person_padding) for person in (*scene.people, *scene.unsure_people)]
