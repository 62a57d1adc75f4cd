"""`Frame` and boxes -> crops at the embedder's input size.

Rule: the box is squashed to the model's square by one antialiased resampling, as the catalog's pictures are: a query
and a catalog picture of the same pixels give the same crop.
"""

import numpy as np
from PIL import Image

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Crop, Frame
from sightline_server.domain.models import EmbedderSpec

REDUCING_GAP = 2.0
"""Pillow first reduces by whole factors down to this multiple of the target, which the bicubic filter then meets."""


def crop(frame: Frame, box: Box, spec: EmbedderSpec) -> Crop:
    """The part of `frame` in `box`, squashed to the embedder's input size (Pillow's antialiased bicubic)."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    part = Image.fromarray(np.ascontiguousarray(frame.pixels[top:bottom, left:right]))
    resized = part.resize((spec.width, spec.height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    return Crop(np.asarray(resized))
