"""The plain margin of a catalog image: the box of what lies inside it.

Rule: in doubt there is no margin. An image without one, or with a thin one, gives no second view, because that would be
nearly the same vector again.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image import Frame

CORNERS_AGREE = 20
"""Most levels between the four corners, in each channel, of an image whose margin is plain."""
DIFFERENT = 12
"""Levels, in any channel, from which on a pixel is not of the margin."""
PADDING = 0.04
"""Share of the box's edges that is left of the margin on each side."""
LEAST_PIXELS = 16
"""Edge of the smallest box: less is a speck or a line, and the image says more as a whole."""
LEAST_AREA = 0.01
"""Share of the image that the smallest box has."""
LEAST_TRIMMED = 0.05
"""Share of the width or the height that the margin has at least."""

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""


def box_inside_margin(frame: Frame) -> PixelBox | None:
    """The box of the frame without its plain margin; None where it has none that is worth a view."""
    found = differing(frame.pixels)
    if found is None:
        return None
    left, top, right, bottom = found
    width, height = right - left, bottom - top
    if min(width, height) < LEAST_PIXELS or width * height < LEAST_AREA * frame.width * frame.height:
        return None
    dx, dy = round(PADDING * width), round(PADDING * height)
    left, top = max(0, left - dx), max(0, top - dy)
    right, bottom = min(frame.width, right + dx), min(frame.height, bottom + dy)
    trimmed = max(1 - (right - left) / frame.width, 1 - (bottom - top) / frame.height)
    return (left, top, right, bottom) if trimmed >= LEAST_TRIMMED else None


def differing(pixels: NDArray[np.uint8]) -> PixelBox | None:
    """The box of the pixels, uint8 [H,W,3], that differ from the corners; None where these differ from each other, or
    no pixel differs from them."""
    height, width, channels = pixels.shape
    if not height or not width:
        return None
    corners = pixels[:: max(height - 1, 1), :: max(width - 1, 1)].reshape(-1, channels).astype(np.int16)
    if int(np.ptp(corners, axis=0).max()) > CORNERS_AGREE:
        return None
    plain = corners.mean(axis=0).round()
    low, high = (np.clip(plain + change, 0, 255).astype(np.uint8) for change in (-DIFFERENT, DIFFERENT))
    # Whole rows of numbers are compared several times faster than pixels of three.
    flat = pixels.reshape(height, width * channels)
    other = flat < np.tile(low, width)
    other |= flat > np.tile(high, width)
    rows = np.flatnonzero(other.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(other.any(axis=0).reshape(width, channels).any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
