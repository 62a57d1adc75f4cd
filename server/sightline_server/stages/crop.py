"""`Frame` and boxes -> crops at the embedder's input size.

Rule: a query and a catalog image of the same pixels give the same crop.
"""

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Crop, Frame
from sightline_server.domain.models import EmbedderSpec
from sightline_server.stages.model_input import model_input


def crop(frame: Frame, box: Box, spec: EmbedderSpec) -> Crop:
    """The part of `frame` in `box` as the embedder's preprocess wants it."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    part = frame.pixels[top:bottom, left:right]
    return Crop(model_input(frame, part, spec.width, spec.height, spec.preprocess).pixels)
