"""Two sets of local features -> the number of points that one plane shows in both images. Pure.

Rule: similar descriptors prove nothing, because a shelf has the same letters everywhere: points count where one
plausible similarity transform (scale, turn, shift) maps them onto each other. A transform that shrinks the object to
a spot, or that rests on points of one spot, counts as none.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.local_features import LocalFeatures

RATIO = 0.8
"""A match is kept where the nearest descriptor is so much nearer than the second one (Lowe, 2004)."""
LEAST_INLIERS = 8
"""Points below which a transform is chance: two define it."""
REACH = 6.0
"""Pixels that a point may be off after the transform."""
STEPS = 1000
"""Random pairs of points that are tried at most."""
CONFIDENCE = 0.99
SCALES = (0.1, 10.0)
"""Smallest and largest scale of a transform between two images of at most 480 pixels."""
LEAST_SPREAD = 8.0
"""Pixels that the points of a transform must be spread over in both images, as a standard deviation."""

Points = NDArray[np.float32]


def inliers(query: LocalFeatures, image: LocalFeatures) -> int:
    """Points of `query` that a transform maps onto points of `image`; 0 below `LEAST_INLIERS`."""
    here, there = matches(query, image)
    if len(here) < LEAST_INLIERS:
        return 0
    return consistent(query.points[here], image.points[there])


def matches(query: LocalFeatures, image: LocalFeatures) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of both sets that match, each row of `image` at most once."""
    none = np.empty(0, np.intp)
    if not len(query) or len(image) < 2:
        return none, none
    distances = squared_distances(query.descriptors, image.descriptors)
    rows = np.arange(len(query))
    there = distances.argmin(axis=1)
    nearest = distances[rows, there]
    # A second minimum takes a ninth of the time of `argpartition`.
    distances[rows, there] = np.inf
    second = distances.min(axis=1)
    here = np.flatnonzero(nearest < RATIO**2 * second)
    # Of several points that match one point of the image, only the nearest one can be right.
    here = here[np.argsort(nearest[here], kind="stable")]
    _, first = np.unique(there[here], return_index=True)
    kept = here[np.sort(first)]
    return kept, there[kept]


def squared_distances(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Squared Euclidean distances [N,M] of descriptors [N,128] and [M,128]."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    found: NDArray[np.float32] = a @ b.T
    found *= -2
    found += np.einsum("nd,nd->n", a, a)[:, None]
    found += np.einsum("md,md->m", b, b)[None, :]
    return np.maximum(found, 0, out=found)


def consistent(here: Points, there: Points) -> int:
    """Of the matched points [N,2], those that the best plausible transform maps onto each other."""
    found, kept = cv2.estimateAffinePartial2D(
        here, there, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=STEPS, confidence=CONFIDENCE
    )
    if found is None or not np.isfinite(found).all():
        return 0
    chosen = kept.ravel().astype(bool)
    # A point with several orientations is found several times at one position.
    count = min(positions(here[chosen]), positions(there[chosen]))
    if count < LEAST_INLIERS or not plausible(np.asarray(found, np.float64), here[chosen], there[chosen]):
        return 0
    return count


def positions(points: Points) -> int:
    """The number of different positions among points [N,2], which are those of whole pixels."""
    return len(np.unique(np.rint(points), axis=0))


def plausible(transform: NDArray[np.float64], here: Points, there: Points) -> bool:
    """Returns whether a transform [2,3] has a scale that two photos can differ by, and its points fill an area."""
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    return SCALES[0] <= scale <= SCALES[1] and min(spread(here), spread(there)) >= LEAST_SPREAD


def spread(points: Points) -> float:
    """The standard deviation of points [N,2] along the direction in which it is least."""
    values = np.linalg.eigvalsh(np.cov(points.T.astype(np.float64)))
    return float(np.sqrt(max(values[0], 0.0)))
