"""Pixels -> local features: SIFT (Lowe, 2004) in a grey image of limited size.

Rule: bounded work and a bounded result, whatever the image shows. A catalog image and a query go through the same
steps.
"""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures, no_features
from sightline_server.stages import opencv as opencv  # sets its threads and silences its log
from sightline_server.stages.local_features.colours import colours_of

MOST_POINTS = 384
"""Points of an image at most, those of the strongest contrast; 50.7 KB as they are stored."""
MOST_EDGE = 480
"""Pixels of the longer edge in which points are looked for; a larger image is reduced."""
USUAL_EDGE, MOST_ENLARGED = 320, 2.0
"""A smaller image is enlarged to this edge, at most so many times: thumbnails have few points otherwise."""
LEAST_EDGE = 16
"""Pixels of the shorter edge of an image that can have points."""


def image_features(frame: Frame) -> LocalFeatures:
    """The local features of a catalog image, with its colours."""
    whole = Box.whole()
    return replace(features_of(frame, whole), colours=colours_of(frame, whole))


def features_of(frame: Frame, box: Box) -> LocalFeatures:
    """The points of the part of `frame` in `box`; none where it has no texture."""
    left, top, right, bottom = box.pixels(frame.width, frame.height)
    grey = scaled(frame.pixels[top:bottom, left:right])
    if min(grey.shape) < LEAST_EDGE:
        return no_features()
    found, descriptors = detector().detectAndCompute(grey, None)
    if descriptors is None or not len(found):
        return no_features()
    strongest = np.argsort([-point.response for point in found], kind="stable")[:MOST_POINTS]
    points = np.array([found[place].pt for place in strongest], np.float32)
    # OpenCV rounds them to 0..255 itself and returns them as floats.
    return LocalFeatures(points, descriptors[strongest].astype(np.uint8))


def detector() -> Any:
    """A detector for one call: one that is shared by threads is not safe. OpenCV's own types lack it."""
    make: Any = getattr(cv2, "SIFT_create")  # noqa: B009
    return make(nfeatures=MOST_POINTS)


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB pixels [h,w,3] as a grey image of at most `MOST_EDGE` pixels a side."""
    edge = max(pixels.shape[:2])
    scale = min(max(1.0, min(USUAL_EDGE / edge, MOST_ENLARGED)), MOST_EDGE / edge)
    if scale != 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, size, interpolation=method).astype(np.uint8, copy=False)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
