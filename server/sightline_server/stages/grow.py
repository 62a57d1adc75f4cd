"""A tap that no detection covers -> the box of what is under the finger, by its colours. Pure.

Place in the flow: after the objects were chosen, for taps that got a square. A window around the tap is scaled to a few
thousand pixels and parted into object and ground by GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004), which starts
with a disc of the square's size as the object. Rule: a region that does not look like an object, or has a part of a
person in it, is not used, and the tap keeps its square.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import ObjectSource, PhotoObject, TapBox
from sightline_server.domain.request import Region
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice
from sightline_server.stages.redact import part
from sightline_server.stages.unsure import may_be_person, people_boxes

EDGE = 64
"""Edge of the scaled window in pixels."""
WINDOWS = (0.45, 0.9)
"""Edges of the windows as fractions of a photo's shorter edge; the second if a region reaches the end of the first."""
ROUNDS = 1
"""Rounds of GrabCut; a second one finds no better boxes and takes half as long again."""
RING = 2
"""Pixels along the edges of the window that are ground, where the photo goes on beyond them."""
SURE = 2.0
"""Radius in pixels of the disc around the tap that is object."""
LEAST_EDGE = 16
"""Smallest edge in pixels of the photo of a window that is large enough."""
LEAST_SHARE, MOST_SHARE = 0.002, 0.6
"""Fractions of the photo that a grown box covers at least and at most."""
LEAST_FILLED = 0.25
"""Fraction of its box that a region fills at least; less is a frame or a thread and not an object."""
MARGIN = 0.04
"""Fraction of its width and height that a box gets on each side; scaling has cost the outermost pixels."""

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the photo around a tap: `box` exactly on pixels of the photo, scaled `pixels` uint8 [EDGE,EDGE,3]."""

    box: Box
    pixels: NDArray[np.uint8]

    def place_of(self, point: Point) -> tuple[float, float]:
        """The point (x, y) in pixels of the window."""
        return (
            EDGE * (point.x - self.box.x_min) / (self.box.x_max - self.box.x_min),
            EDGE * (point.y - self.box.y_min) / (self.box.y_max - self.box.y_min),
        )


def to_grow(choice: Choice) -> bool:
    """Returns whether an object of the choice is a square that `grown` might replace."""
    return any(is_square(item) and item.object_id not in choice.on_person for item in choice.objects)


def is_square(item: PhotoObject) -> bool:
    """Returns whether the object is the square around a tap."""
    return item.source is ObjectSource.TAP and item.tap_box is TapBox.SQUARE


def grown(choice: Choice, regions: Sequence[Region], frame: Frame, settings: DetectionSettings) -> Choice:
    """The choice, with a grown box in place of each square that has one; refused squares stay.

    `regions` are those of the request, one for each object.
    """
    objects = []
    for item, region in zip(choice.objects, regions, strict=True):
        box = None
        if isinstance(region, Point) and is_square(item) and item.object_id not in choice.on_person:
            box = grown_box(region, frame, choice, settings)
        objects.append(item if box is None else replace(item, box=box, tap_box=TapBox.GROWN))
    return replace(choice, objects=tuple(objects))


def grown_box(tap: Point, frame: Frame, choice: Choice, settings: DetectionSettings) -> Box | None:
    """The box of the region of the frame under `tap`; None where none is plausible or a person is too near."""
    if may_be_person(tap, choice.scene):
        return None
    people = people_boxes(choice.scene, settings)
    for share in WINDOWS:
        window = window_around(tap, frame, share)
        if window is None:
            return None
        radius = settings.tap_square / share * EDGE / 2
        found = region_box(under_tap(window, tap, seeds(window, tap, radius)))
        if found is None:
            return None
        left, top, right, bottom, filled = found
        if reaches_end(window, left, top, right, bottom):
            continue
        box = Box(left / EDGE, top / EDGE, right / EDGE, bottom / EDGE).inside(window.box)
        return None if box is None else plausible(box.grown(MARGIN), filled, people, settings)
    return None


def plausible(box: Box, filled: float, people: Sequence[Box], settings: DetectionSettings) -> Box | None:
    """The box, of which a region fills the fraction `filled`; None where it is not the box of an object."""
    if not max(LEAST_SHARE, settings.min_area) <= box.area <= MOST_SHARE or filled < LEAST_FILLED:
        return None
    return None if any(box.intersection(person) for person in people) else box


def window_around(tap: Point, frame: Frame, share: float) -> Window | None:
    """The square of `share` of the frame's shorter edge around the tap, moved inside; None where it is too small."""
    wanted = Box.square_around(tap, share, frame.width / frame.height)
    left, top, right, bottom = wanted.pixels(frame.width, frame.height)
    if min(right - left, bottom - top) < LEAST_EDGE:
        return None
    exact = Box(left / frame.width, top / frame.height, right / frame.width, bottom / frame.height)
    scaled = cv2.resize(part(frame.pixels, wanted), (EDGE, EDGE), interpolation=cv2.INTER_AREA)
    return Window(exact, cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab).astype(np.uint8, copy=False))


def seeds(window: Window, tap: Point, radius: float) -> Mask:
    """The mask that GrabCut begins with, uint8 [EDGE,EDGE]: a disc of `radius` pixels may be object, its middle is.

    Ground are the edges of the window beyond which the photo goes on.
    """
    x, y = window.place_of(tap)
    rows, columns = np.ogrid[:EDGE, :EDGE]
    distance = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2
    mask = np.full((EDGE, EDGE), cv2.GC_PR_BGD, np.uint8)
    mask[distance <= radius**2] = cv2.GC_PR_FGD
    box = window.box
    for goes_on, edge in (
        (box.x_min > 0.0, mask[:, :RING]),
        (box.y_min > 0.0, mask[:RING]),
        (box.x_max < 1.0, mask[:, -RING:]),
        (box.y_max < 1.0, mask[-RING:]),
    ):
        if goes_on:
            edge[:] = cv2.GC_BGD
    mask[distance <= SURE**2] = cv2.GC_FGD
    return mask


def under_tap(window: Window, tap: Point, mask: Mask) -> Mask:
    """The pixels of the region that the tap is on, uint8 0 or 1 [EDGE,EDGE]; `mask` are the seeds, and is changed."""
    # GrabCut's first guess of the colours draws random numbers of this thread: with the same seed it is the same.
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(window.pixels, mask, (0, 0, 0, 0), *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    is_object = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts = cv2.connectedComponents(is_object, connectivity=4)
    x, y = (min(int(each), EDGE - 1) for each in window.place_of(tap))
    region: Mask = ((parts == parts[y, x]) & (is_object == 1)).astype(np.uint8)
    return region


def region_box(region: Mask) -> tuple[int, int, int, int, float] | None:
    """(left, top, right, bottom) of a region in pixels and the fraction of that box that it fills; None without one."""
    columns, rows = np.flatnonzero(region.any(axis=0)), np.flatnonzero(region.any(axis=1))
    if not len(columns):
        return None
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return left, top, right, bottom, float(region.sum()) / ((right - left) * (bottom - top))


def reaches_end(window: Window, left: int, top: int, right: int, bottom: int) -> bool:
    """Returns whether a region ends at an edge of the window beyond which the photo goes on."""
    box = window.box
    return (
        (left <= RING and box.x_min > 0.0)
        or (top <= RING and box.y_min > 0.0)
        or (right >= EDGE - RING and box.x_max < 1.0)
        or (bottom >= EDGE - RING and box.y_max < 1.0)
    )
