"""The rule that keeps people from being searched: which parts of a photo are mostly a person. Pure.

Rule: a detector gives rectangles, and a rectangle on a person is the person, clothes included, unless the detector saw
a product there that is much smaller than the person: a bag, a tie, a suitcase.
"""

import itertools
from collections.abc import Sequence

from sightline_server.domain.geometry import Box
from sightline_server.domain.items import Detection, Scene
from sightline_server.settings import DetectionSettings


def covered_share(box: Box, others: Sequence[Box]) -> float:
    """Fraction 0..1 of `box` that lies in at least one of the `others`."""
    parts = [part for other in others if (part := box.intersection(other)) is not None]
    xs = sorted({edge for part in parts for edge in (part.x_min, part.x_max)})
    total = 0.0
    for left, right in itertools.pairwise(xs):
        rows = sorted((part.y_min, part.y_max) for part in parts if part.x_min <= left and right <= part.x_max)
        total += (right - left) * _length(rows)
    return min(1.0, total / box.area) if box.area else 0.0  # two edges may be too short for their product


def _length(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals that are sorted by their start."""
    length, end = 0.0, 0.0
    for low, high in intervals:
        length += max(0.0, high - max(low, end))
        end = max(end, high)
    return length


def on_person(box: Box, scene: Scene, settings: DetectionSettings) -> bool:
    """Whether people cover at least `person_share` of the box and it is not on a product that they carry."""
    if covered_share(box, [person.box for person in scene.people]) < settings.person_share:
        return False
    return not any(
        box.iou(product.box) >= settings.carried_iou
        for product in scene.products
        if carried(product, scene.people, settings)
    )


def carried(product: Detection, people: Sequence[Detection], settings: DetectionSettings) -> bool:
    """Whether the product is at most `carried_share` as large as each person whom it overlaps."""
    touched = [person.box for person in people if product.box.intersection(person.box) is not None]
    return all(product.box.area <= settings.carried_share * person.area for person in touched)


def searchable(scene: Scene, settings: DetectionSettings) -> tuple[Detection, ...]:
    """The products that are not mostly on a person, best first."""
    return tuple(product for product in scene.products if not on_person(product.box, scene, settings))


def shows_people(scene: Scene, settings: DetectionSettings) -> bool:
    """Whether people cover at least `person_photo_share` of the whole photo."""
    return covered_share(Box.whole(), [person.box for person in scene.people]) >= settings.person_photo_share
