"""The parts of a photo that a second round sends through the detector, and the further objects in them. Pure.

Rule: whatever shows a person in the photo or in one of its parts is hidden, and nothing that is mostly on a person is
searched, not even what people carry: from near, a detector takes parts of people for products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.items import Detection, ObjectSource, PhotoObject, Scene
from sightline_server.domain.models import DetectorSpec
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice
from sightline_server.stages.model_input import model_input
from sightline_server.stages.people import covered_share, mostly_covered, people_share
from sightline_server.stages.redact import Redaction, part

TILES = (
    Box(0.0, 0.0, 0.6, 0.6),
    Box(0.4, 0.0, 1.0, 0.6),
    Box(0.0, 0.4, 0.6, 1.0),
    Box(0.4, 0.4, 1.0, 1.0),
    Box(0.2, 0.2, 0.8, 0.8),
)
"""Four overlapping corners with 60 % of each edge, and the middle."""
EDGE = 0.01
"""A detection that ends within this fraction of a tile's edge may go on beyond it."""


@dataclass(frozen=True, slots=True)
class TileScene:
    """The detections in one tile, as boxes of the photo; `products` are whole, those of `people` may be cut off."""

    products: tuple[Detection, ...]
    people: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class FurtherChoice:
    """The objects that a second round adds to a photo, and the number of people that it has found in addition."""

    choice: Choice
    people: int = 0


def tile_input(frame: Frame, tile: Box, spec: DetectorSpec) -> ModelInput:
    """A part of the frame as the detector's preprocess wants it."""
    return model_input(frame, part(frame.pixels, tile), spec.width, spec.height, spec.preprocess)


def in_photo(scene: Scene, tile: Box, frame: Frame) -> TileScene:
    """The detections in a tile of `frame` as those of the photo, without products that the tile's edge may cut off.

    A product that is cut off is whole in another tile, or large enough for the first round.
    """
    left, top, right, bottom = tile.pixels(frame.width, frame.height)
    exact = Box(left / frame.width, top / frame.height, right / frame.width, bottom / frame.height)
    whole = [found for found in scene.products if not is_cut(found.box, exact)]
    return TileScene(moved(whole, exact), moved(scene.people, exact))


def is_cut(box: Box, tile: Box) -> bool:
    """Returns whether `box`, in fractions of `tile`, ends at an edge of the tile that is not an edge of the photo."""
    return (
        (box.x_min < EDGE and tile.x_min > 0.0)
        or (box.y_min < EDGE and tile.y_min > 0.0)
        or (box.x_max > 1.0 - EDGE and tile.x_max < 1.0)
        or (box.y_max > 1.0 - EDGE and tile.y_max < 1.0)
    )


def moved(detections: Sequence[Detection], tile: Box) -> tuple[Detection, ...]:
    """The detections in fractions of `tile` as those of the photo."""
    boxes = [found.box.inside(tile) for found in detections]
    return tuple(
        Detection(box, found.label, found.score)
        for found, box in zip(detections, boxes, strict=True)
        if box is not None
    )


def further(first: Choice, tiles: Sequence[TileScene], most: int, settings: DetectionSettings) -> FurtherChoice:
    """At most `most` objects that the `tiles` show in addition to those of the `first` choice, best first."""
    seen = list(chain.from_iterable(tile.people for tile in tiles))
    people = (*first.scene.people, *seen)
    hidden = hidden_people(people, settings)
    added = count_further(first.scene.people, seen, settings) if hidden else 0
    if people_share(Scene(people=people)) > settings.most_people_share:
        return FurtherChoice(Choice((), hidden=hidden), added)
    known = [item.box for item in first.objects]
    found: list[Detection] = []
    for product in best_first(tiles):
        if len(found) == most:
            break
        boxes = (*known, *(each.box for each in found))
        if (
            product.box.area >= settings.min_area
            and all(product.box.iou(box) <= settings.nms_iou for box in boxes)
            and not mostly_covered(product.box, people, settings)
        ):
            found.append(product)
    objects = tuple(
        PhotoObject(f"o{number}", each.box, ObjectSource.DETECTOR, each.label, each.score)
        for number, each in enumerate(found, start=len(first.objects) + 1)
    )
    return FurtherChoice(Choice(objects, hidden=hidden), added)


def best_first(tiles: Sequence[TileScene]) -> list[Detection]:
    """The products of all tiles in an order that does not depend on that of the tiles."""
    products = chain.from_iterable(tile.products for tile in tiles)
    return sorted(products, key=lambda found: (-found.score, found.box.x_min, found.box.y_min, found.box.x_max))


def count_further(known: Sequence[Detection], seen: Sequence[Detection], settings: DetectionSettings) -> int:
    """The people of `seen` that are not mostly on the `known` ones, nor on each other."""
    boxes = [person.box for person in known]
    for person in sorted(seen, key=lambda each: -each.box.area):
        if covered_share(person.box, boxes) < settings.person_share:
            boxes.append(person.box)
    return len(boxes) - len(known)


def hidden_people(people: Sequence[Detection], settings: DetectionSettings) -> Redaction | None:
    """The parts of a photo with these people to hide; nothing that they carry is shown."""
    if not people or not settings.redact_people:
        return None
    return Redaction(tuple(person.box.grown(settings.person_padding) for person in people))
