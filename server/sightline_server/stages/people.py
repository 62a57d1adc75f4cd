"""The rule that keeps people from being searched: which parts of a photo are mostly a person. Pure.

Rule: a detector gives rectangles, and a rectangle on a person is the person, clothes included, unless the detector saw
a product there that is much smaller than the person: a bag, a tie, a suitcase.
"""

import itertools
from collections.abc import Sequence

from sightline_server.domain.geometry import Box, Point, smallest_covering
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
    """Returns whether the box is mostly on a person and not on a product that the person carries."""
    if not mostly_covered(box, scene.people, settings):
        return False
    return not any(box.iou(product.box) >= settings.carried_iou for product in carried(scene, settings))


def mostly_covered(box: Box, people: Sequence[Detection], settings: DetectionSettings) -> bool:
    """Returns whether people cover at least `person_share` of the box."""
    return covered_share(box, [person.box for person in people]) >= settings.person_share


def carried(scene: Scene, settings: DetectionSettings) -> tuple[Detection, ...]:
    """The products that are mostly on people and at most `carried_share` as large as each whom they overlap."""
    return tuple(
        product
        for product in scene.products
        if mostly_covered(product.box, scene.people, settings)
        and all(
            product.box.area <= settings.carried_share * person.box.area
            for person in scene.people
            if product.box.intersection(person.box) is not None
        )
    )


def at_tap(tap: Point, scene: Scene, settings: DetectionSettings) -> Detection | None:
    """The smallest product that a tap means, or None. In the rectangle of a person, only what the person carries.

    A product behind a person may have a smaller rectangle than the person, and a tap where both overlap may be on a
    face.
    """
    inside_person = any(person.box.covers(tap) for person in scene.people)
    products = carried(scene, settings) if inside_person else searchable(scene, settings)
    index = smallest_covering([product.box for product in products], tap)
    return None if index is None else products[index]


def searchable(scene: Scene, settings: DetectionSettings) -> tuple[Detection, ...]:
    """The products that are not mostly on a person, best first."""
    return tuple(product for product in scene.products if not on_person(product.box, scene, settings))


def people_only(scene: Scene, settings: DetectionSettings) -> bool:
    """Returns whether a photo of `scene` counts as one of people, of which nothing is searched."""
    if not scene.people:
        return False
    share = people_share(scene)
    if share > settings.most_people_share:
        return True
    return share >= settings.person_photo_share and not searchable(scene, settings)


def people_share(scene: Scene) -> float:
    """Fraction 0..1 of the whole photo that people cover."""
    return covered_share(Box.whole(), [person.box for person in scene.people])
