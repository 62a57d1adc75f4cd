"""`Frame` and boxes -> crops at the embedder's input size.

Rule: a query and a catalog image of the same pixels give the same crop.
"""

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Crop, Frame
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.stages.margin import PixelBox, box_inside_margin
from sightline_server.stages.model_input import model_input


def crop(frame: Frame, box: Box, spec: EmbedderSpec) -> Crop:
    """The part of `frame` in `box` as the embedder's preprocess wants it."""
    return crop_pixels(frame, box.pixels(frame.width, frame.height), spec)


def crop_pixels(frame: Frame, box: PixelBox, spec: EmbedderSpec) -> Crop:
    """The pixels of `frame` in `box` as the embedder's preprocess wants them."""
    left, top, right, bottom = box
    part = frame.pixels[top:bottom, left:right]
    return Crop(model_input(frame, part, spec.width, spec.height, spec.preprocess).pixels)


def image_crops(frame: Frame, spec: EmbedderSpec, views: int) -> tuple[Crop, ...]:
    """The crops of a catalog image: the whole, and with two `views` what is inside its plain margin, if it has one."""
    whole = crop(frame, Box.whole(), spec)
    inner = box_inside_margin(frame) if views > ONE_VIEW else None
    return (whole,) if inner is None else (whole, crop_pixels(frame, inner, spec))
