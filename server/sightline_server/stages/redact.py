"""The frame without its people: their pixels are greyed out before any crop is made. Pure.

Rule: what the detector saw of a person is hidden from everything that comes after the choice of objects, except the
boxes of products that people carry. A frame without people stays itself: nothing is copied.
"""

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
    """The boxes that are greyed out, one for each person, and those within them that are not."""

    people: tuple[Box, ...]
    carried: tuple[Box, ...] = ()

    def mask(self, width: int, height: int) -> NDArray[np.bool_]:
        """Which pixels of an image are hidden: bool [height,width]."""
        mask = np.zeros((height, width), np.bool_)
        for hidden, boxes in ((True, self.people), (False, self.carried)):
            for box in boxes:
                left, top, right, bottom = box.pixels(width, height)
                mask[top:bottom, left:right] = hidden
        return mask


def redaction(scene: Scene, settings: DetectionSettings) -> Redaction | None:
    """What to hide in a photo of `scene`; None where there are no people, or they are not to be hidden."""
    if not scene.people or not settings.redact_people:
        return None
    people = tuple(person.box.grown(settings.person_margin) for person in scene.people)
    return Redaction(people, tuple(product.box for product in carried(scene, settings)))


def redacted(frame: Frame, hidden: Redaction) -> Frame:
    """A copy of the frame in which the pixels of people are grey."""
    pixels = frame.pixels.copy()
    pixels[hidden.mask(frame.width, frame.height)] = GREY
    return replace(frame, pixels=pixels)
