"""Pixels -> a colour histogram, and the likeness of two of them. Pure.

Rule: a catalog image and a query go through the same steps, in sRGB and at a bounded size. The histogram has 6 levels
of lightness and 8 of each colour axis of CIE Lab. It is kept as the square roots of its shares, so that a product of
two of them is the Bhattacharyya coefficient, which is 1 minus the square of the Hellinger distance.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import COLOURS
from sightline_server.stages import opencv as opencv  # sets its threads and silences its log

EDGE = 128
"""Pixels of the longer edge of the image whose pixels are counted; a larger one is reduced."""
LEVELS = (6, 8, 8)
REACH = 64
"""Distance from grey, in OpenCV's numbers, at which the last level of an axis begins to hold all colours."""


def colours_of(frame: Frame, box: Box) -> NDArray[np.uint8]:
    """The histogram of the part of `frame` in `box`: square roots of the shares, times 255, uint8 [384]."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    lab = cv2.cvtColor(frame.in_srgb(reduced(frame.pixels[top:bottom, left:right])), cv2.COLOR_RGB2LAB)
    lightness = lab[..., 0].astype(np.intp) * LEVELS[0] // 256
    green_red, blue_yellow = (axis_levels(lab[..., axis], LEVELS[axis]) for axis in (1, 2))
    cells = (lightness * LEVELS[1] + green_red) * LEVELS[2] + blue_yellow
    shares = np.bincount(cells.ravel(), minlength=COLOURS) / cells.size
    levels: NDArray[np.uint8] = np.rint(np.sqrt(shares) * 255).astype(np.uint8)
    return levels


def axis_levels(values: NDArray[np.generic], levels: int) -> NDArray[np.intp]:
    """The level of each value of an axis, of which 128 is grey."""
    from_grey = np.clip(values.astype(np.intp) - 128, -REACH, REACH - 1)
    return (from_grey + REACH) * levels // (2 * REACH)


def reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels [h,w,3] of at most `EDGE` a side."""
    scale = EDGE / max(pixels.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def likeness(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The likeness 0..1 of two histograms."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0
