"""A grey image -> the areas that resemble a barcode at an angle. Pure.

Rule: cheap and bounded. The reader scans rows, so it misses bars that are turned; here the direction of the bars is
measured by the structure tensor of blocks of the image (Bigun and Granlund, 1987), and the few largest areas with
strong gradients of one direction are cut out, turned so that the bars are upright.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Tensors = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""The mean of gx * gx, gy * gy and gx * gy of each block, [h,w]."""
Numbers = NDArray[np.intp]

BLOCK = 8
"""Edge of a block in pixels."""
BAND_ROWS = 10
"""Rows of blocks that are measured at a time, so that the products of their gradients stay in the processor's cache."""
LEAST_BLOCKS = 6
MOST_PLACES = 3
MOST_EXAMINED = 16
LEAST_ACROSS = 5
"""Blocks across the bars; the edge of a table or a shelf, which is as straight, covers three."""
LEAST_ENERGY = 3000.0
"""Mean squared gradient of a block with bars; that of paper, cloth and sensor noise is below it."""
LEAST_COHERENCE = 0.7
"""Share of the gradients that have one direction, 0..1."""
MARGIN, MARGIN_PIXELS = 1.4, 24
"""A cut is so much longer than the area, for the quiet zones and blocks of which bars cover a part."""
MOST_ROWS, MOST_COLUMNS = 48, 2048
"""Rows and columns of a cut at most: all rows of a barcode say the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle in pixels of the image: its centre, its extent across and along the bars, and its turn in degrees."""

    x: float
    y: float
    across: float
    along: float
    turn: float


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A turned part of an image; `to_image` [2,3] maps its pixels to those of the image."""

    pixels: Grey
    to_image: NDArray[np.float64]


def striped(grey: Grey) -> Iterator[Place]:
    """The largest areas of `grey` with bars of one direction, at most `MOST_PLACES`."""
    if min(grey.shape) < 3 * BLOCK:
        return
    tensors = block_tensors(grey)
    mask = (coherence(*tensors) > LEAST_COHERENCE) & (tensors[0] + tensors[1] > LEAST_ENERGY)
    found = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    labels, facts = np.asarray(found[1], np.int32), np.asarray(found[2], np.int32)
    sizes = facts[1:, cv2.CC_STAT_AREA]
    largest = 1 + np.argsort(-sizes, kind="stable")[:MOST_EXAMINED]
    examined = [label for label in largest if sizes[label - 1] >= LEAST_BLOCKS]
    places = (place_of(*blocks_of(labels, label, facts[label]), tensors) for label in examined)
    yield from islice((place for place in places if place is not None), MOST_PLACES)


def blocks_of(labels: NDArray[np.int32], label: int, facts: NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """The rows and columns of the blocks with `label`, looked for in its rectangle only."""
    left, top = facts[cv2.CC_STAT_LEFT], facts[cv2.CC_STAT_TOP]
    right, bottom = left + facts[cv2.CC_STAT_WIDTH], top + facts[cv2.CC_STAT_HEIGHT]
    rows, columns = np.nonzero(labels[top:bottom, left:right] == label)
    return rows + top, columns + left


def block_tensors(grey: Grey) -> Tensors:
    """The structure tensor of each block of 8 x 8 pixels, averaged over its neighbours."""
    rows, columns = grey.shape[0] // BLOCK, grey.shape[1] // BLOCK
    # Whole blocks: OpenCV averages by whole numbers ten times faster than by fractions.
    whole = grey[: rows * BLOCK, : columns * BLOCK]
    means = np.empty((3, rows, columns), np.float32)
    for first in range(0, rows, BAND_ROWS):
        last = min(first + BAND_ROWS, rows)
        x, y = gradients(whole, first * BLOCK, last * BLOCK)
        for mean, one, other in zip(means, (x, y, x), (x, y, y), strict=True):
            products = cv2.multiply(one, other, dtype=cv2.CV_32F)
            cv2.resize(products, (columns, last - first), mean[first:last], interpolation=cv2.INTER_AREA)
    xx, yy, xy = (cv2.blur(mean, (3, 3)).astype(np.float32, copy=False) for mean in means)
    return xx, yy, xy


def gradients(grey: Grey, top: int, bottom: int) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The gradients of the rows [top:bottom] across and down, as those of the whole image."""
    above, below = min(top, 1), min(grey.shape[0] - bottom, 1)
    across, down = cv2.spatialGradient(grey[top - above : bottom + below])
    rows = slice(above, above + bottom - top)
    return across[rows].astype(np.int16, copy=False), down[rows].astype(np.int16, copy=False)


def coherence(xx: NDArray[np.float32], yy: NDArray[np.float32], xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of the gradients of each tensor that have its main direction, 0..1."""
    energy = np.maximum(xx + yy, np.float32(1e-6))
    share: NDArray[np.float32] = np.hypot(xx - yy, 2 * xy) / energy
    return share


def place_of(rows: Numbers, columns: Numbers, tensors: Tensors) -> Place | None:
    """The rectangle around some blocks, in the direction of their gradients; None without bars of one direction."""
    xx, yy, xy = (np.asarray(tensor[rows, columns].sum()) for tensor in tensors)
    if float(coherence(xx, yy, xy)) < LEAST_COHERENCE:
        return None
    turn = 0.5 * float(np.arctan2(2 * xy, xx - yy))
    cosine, sine = np.cos(turn), np.sin(turn)
    across, along = columns * cosine + rows * sine, rows * cosine - columns * sine
    if np.ptp(across) + 1 < LEAST_ACROSS:
        return None
    # An edge next to the bars may be part of the area, but has fewer blocks: the median is on the bars.
    middle_across, middle_along = (across.min() + across.max()) / 2, np.median(along)
    return Place(
        x=float(middle_across * cosine - middle_along * sine + 0.5) * BLOCK,
        y=float(middle_across * sine + middle_along * cosine + 0.5) * BLOCK,
        across=float(np.ptp(across) + 1) * BLOCK,
        along=float(np.ptp(along) + 1) * BLOCK,
        turn=float(np.degrees(turn)),
    )


def cut_out(grey: Grey, place: Place, scale: float) -> Cut:
    """The part of `grey` at `place` with upright bars; `place` is in an image that is smaller by `scale`."""
    columns = min(MOST_COLUMNS, int(scale * place.across * MARGIN) + MARGIN_PIXELS)
    rows = max(BLOCK, min(MOST_ROWS, int(scale * place.along)))
    centre = place.x * scale, place.y * scale
    forth = np.asarray(cv2.getRotationMatrix2D(centre, place.turn, 1.0), np.float64)
    forth[:, 2] += np.array([columns / 2 - centre[0], rows / 2 - centre[1]])
    pixels = cv2.warpAffine(grey, forth, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Cut(pixels.astype(np.uint8, copy=False), np.asarray(cv2.invertAffineTransform(forth), np.float64))
