"""The map of text probabilities -> the corners of the lines of text. Pure.

Method: Liao and others, "Real-time scene text detection with differentiable binarization", arXiv:1911.08947: the model
marks shrunken lines, which are grown again by their area over their perimeter. Rule: bounded work and a bounded
result, whatever the image shows: noise may have ten thousand components.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.stages import opencv as opencv  # sets its threads and silences its log

LEAST_PROBABILITY = 0.3
"""Of a pixel that belongs to a line."""
LEAST_MEAN = 0.5
"""Mean probability of the pixels of a line that are above that."""
GROWTH = 1.6
"""A shrunken line is grown on each side by this times its area over its perimeter."""
LEAST_PIXELS = 16
"""Pixels of a shrunken line."""
LEAST_EDGE = 5.0
"""Pixels of the shorter edge of a line after it was grown."""
MOST_COMPONENTS = 128
"""Components that are considered, the largest ones."""
LEVELS = 255

Quads = NDArray[np.float32]
"""Corners [N,4,2], x and y in pixels: top left, top right, bottom right, bottom left of each line."""


def lines_in(probabilities: NDArray[np.uint8], most: int) -> Quads:
    """The lines in a map uint8 [H,W] of probabilities, 255 for 1: at most `most`, the largest ones first."""
    marked = (probabilities >= LEAST_PROBABILITY * LEVELS).astype(np.uint8)
    # Joins what a break of one pixel divides.
    marked = cv2.dilate(marked, np.ones((2, 2), np.uint8)).astype(np.uint8, copy=False)
    _, components, statistics, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    labels, facts = np.asarray(components, np.int32), np.asarray(statistics, np.int32)
    found = [quad for label in largest(facts) if (quad := line_of(probabilities, labels, label, facts[label])).size]
    if not found:
        return np.empty((0, 4, 2), np.float32)
    quads = np.stack(found)
    return quads[np.argsort(-areas(quads), kind="stable")[:most]]


def largest(facts: NDArray[np.int32]) -> list[int]:
    """The labels of the largest components, by the statistics [N,5] that OpenCV gives; label 0 is the background."""
    pixels = facts[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-pixels, kind="stable")[:MOST_COMPONENTS]
    return [int(place) + 1 for place in order if pixels[place] >= LEAST_PIXELS]


def line_of(
    probabilities: NDArray[np.uint8], labels: NDArray[np.int32], label: int, facts: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The corners [4,2] of one component; empty where it is none, or too small."""
    left, top, width, height = (int(each) for each in facts[: cv2.CC_STAT_AREA])
    window = np.s_[top : top + height, left : left + width]
    inside = labels[window] == label
    none = np.empty(0, np.float32)
    marked = probabilities[window][inside & (probabilities[window] >= LEAST_PROBABILITY * LEVELS)]
    if not marked.size or marked.mean() < LEAST_MEAN * LEVELS:
        return none
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    centre, (across, down), angle = cv2.minAreaRect(np.concatenate(contours))
    # A pixel has a width: a row of pixels is one high, not zero.
    across, down = across + 1, down + 1
    growth = GROWTH * across * down / (2 * (across + down))
    grown = across + 2 * growth, down + 2 * growth
    if min(grown) < LEAST_EDGE:
        return none
    corners = cv2.boxPoints((centre, grown, angle)).astype(np.float32, copy=False)
    return ordered(corners) + np.array([left + 0.5, top + 0.5], np.float32)


def ordered(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """The corners [4,2] of a rectangle from the top left one on, clockwise as seen on the screen."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.stack([top_left, top_right, bottom_right, bottom_left])


def areas(quads: Quads) -> NDArray[np.float32]:
    """The areas [N] of rectangles, in square pixels."""
    across = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)
    down = np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1)
    found: NDArray[np.float32] = (across * down).astype(np.float32)
    return found
