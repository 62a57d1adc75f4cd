"""Pixels and the corners of lines -> the images that the model reads. Pure.

Rule: bounded work: the part of a photo is reduced first, and a line is straightened at a bounded height.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box, Placement
from sightline_server.domain.image import Frame
from sightline_server.domain.preprocess import Colour
from sightline_server.domain.printed_text_models import TextReaderSpec
from sightline_server.stages import opencv as opencv  # sets its threads and silences its log
from sightline_server.stages.printed_text.finding import Quads

MOST_EDGE = 1280
"""Pixels of the longer edge of the part of a photo whose text is read; a larger one is reduced."""
UPRIGHT = 1.5
"""A line that is so many times as high as it is wide is read from top to bottom."""
PADDING = 128
"""Level of the pixels to the right of a line."""
Pixels = NDArray[np.uint8]


def readable_part(frame: Frame, box: Box) -> Frame:
    """The part of `frame` in `box`, in sRGB and of a bounded size; its pixels are not those of the frame."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    part = frame.pixels[top:bottom, left:right]
    scale = MOST_EDGE / max(part.shape[:2])
    if scale < 1:
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    else:
        part = part.copy()
    return Frame(np.ascontiguousarray(frame.in_srgb(part)))


def on_part(quads: Quads, place: Placement, part: Frame) -> Quads:
    """Corners in pixels of a model's input as pixels of the part of a photo that is placed in it."""
    scale = np.array([part.width / place.inner_width, part.height / place.inner_height], np.float32)
    moved: Quads = (quads - np.array([place.left, place.top], np.float32)) * scale
    return moved


def line_images(part: Frame, quads: Quads, spec: TextReaderSpec) -> list[Pixels]:
    """Each line of `part`, straight, as the reader takes it: uint8 [height,width,3], padded to the right."""
    return [line_image(part.pixels, corners, spec) for corners in quads]


def line_image(pixels: Pixels, corners: NDArray[np.float32], spec: TextReaderSpec) -> Pixels:
    """One line; a longer one than the reader takes is squeezed."""
    across, down = edges(corners)
    if down >= UPRIGHT * across:
        corners, across, down = np.roll(corners, -1, axis=0), down, across
    # At most twice the reader's height, and as wide as its proportions say.
    height = int(np.clip(round(down), 1, 2 * spec.height))
    width = int(np.clip(round(across * height / down), 1, MOST_EDGE))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    # Corners lie between pixels, whose centres OpenCV counts.
    transform = cv2.getPerspectiveTransform(np.ascontiguousarray(corners - 0.5, np.float32), target - 0.5)
    straight = cv2.warpPerspective(
        pixels, transform, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    fitted = min(spec.width, max(1, round(width * spec.height / height)))
    method = cv2.INTER_AREA if height > spec.height else cv2.INTER_LINEAR
    canvas = np.full((spec.height, spec.width, 3), PADDING, np.uint8)
    canvas[:, :fitted] = cv2.resize(straight, (fitted, spec.height), interpolation=method)
    return np.ascontiguousarray(canvas[..., ::-1]) if spec.preprocess.colour is Colour.BGR else canvas


def edges(corners: NDArray[np.float32]) -> tuple[float, float]:
    """The longer of the two edges across and of the two edges down, in pixels, at least 1."""
    across = max(np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[3]))
    down = max(np.linalg.norm(corners[3] - corners[0]), np.linalg.norm(corners[2] - corners[1]))
    return max(float(across), 1.0), max(float(down), 1.0)
