"""The photo without its people: their pixels are greyed out before any crop is made.

Rule: what the detector saw of a person is hidden from everything that comes after the choice of objects. An object that
a person carries is searched, and only for its own crop is its own box visible. A photo without people stays itself:
nothing is copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Scene
from sightline_server.settings import DetectionSettings
from sightline_server.stages.people import carried

GREY = 128
"""Value of hidden pixels in each channel: the middle, which the embedders' normalisation takes to about zero."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """The boxes that are greyed out, one for each person, and those of what people carry.

    An object whose box overlaps one of `carried` by at least `carried_iou` (IoU) is that.
    """

    people: tuple[Box, ...]
    carried: tuple[Box, ...] = ()
    carried_iou: float = 1.0


def redaction(scene: Scene, settings: DetectionSettings) -> Redaction | None:
    """The parts of a photo of `scene` to hide; None without people, or where they are not to be hidden."""
    if not scene.people or not settings.redact_people:
        return None
    people = tuple(person.box.grown(settings.person_padding) for person in scene.people)
    products = tuple(product.box for product in carried(scene, settings))
    return Redaction(people, products, settings.carried_iou)


def redacted(frame: Frame, hidden: Redaction, shown: Sequence[Box] = ()) -> Frame:
    """A copy of the frame in which the pixels of people are grey, except in the boxes `shown`."""
    pixels = frame.pixels.copy()
    for box in hidden.people:
        left, top, right, bottom = box.touched_pixels(frame.width, frame.height)
        pixels[top:bottom, left:right] = GREY
    for box in shown:
        part(pixels, box)[:] = part(frame.pixels, box)
    return replace(frame, pixels=pixels)


def part(pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of an image uint8 [H,W,3] that lie in `box`, without a copy."""
    left, top, right, bottom = box.pixels(pixels.shape[1], pixels.shape[0])
    return pixels[top:bottom, left:right]


class Views:
    """The photo as each of its objects sees it. To be used on threads: the first use copies a frame with people."""

    def __init__(self, frame: Frame, hidden: Redaction | None = None) -> None:
        self._frame = frame
        self._hidden = hidden
        self._redacted: Frame | None = None

    def of(self, box: Box) -> Frame:
        """The frame as an object in `box` sees it."""
        if self._hidden is None:
            return self._frame
        shown = [each for each in self._hidden.carried if box.iou(each) >= self._hidden.carried_iou]
        if shown:
            return redacted(self._frame, self._hidden, shown)
        if self._redacted is None:
            self._redacted = redacted(self._frame, self._hidden)
        return self._redacted
