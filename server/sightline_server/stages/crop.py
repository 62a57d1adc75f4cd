"""`Frame` and boxes -> crops at the embedder's input size.

Rule: the box is squashed to the model's square by antialiased resampling, as the catalog's images are: a query
and a catalog image of the same pixels give the same crop.
"""

import cv2
import numpy as np
from PIL import Image

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Crop, Frame
from sightline_server.domain.models import EmbedderSpec

HALVE_ABOVE = 3
"""Images of at least this multiple of the target are halved first: area averaging of 2x2 pixels, cheaper than the
wide bicubic filter that they would otherwise need, and the same to the embedder (docs/models.md has the figures)."""


def crop(frame: Frame, box: Box, spec: EmbedderSpec) -> Crop:
    """The part of `frame` in `box`, squashed to the embedder's input size (Pillow's antialiased bicubic)."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    part = frame.pixels[top:bottom, left:right]
    while part.shape[0] >= HALVE_ABOVE * spec.height and part.shape[1] >= HALVE_ABOVE * spec.width:
        half = (part.shape[1] // 2, part.shape[0] // 2)
        part = cv2.resize(part, half, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    resized = Image.fromarray(np.ascontiguousarray(part)).resize((spec.width, spec.height), Image.Resampling.BICUBIC)
    return Crop(frame.in_srgb(np.asarray(resized)))
