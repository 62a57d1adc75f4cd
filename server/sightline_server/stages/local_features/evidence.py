"""Local features of an object and of the images of products -> what a sum of weights counts. Pure.

Rule: searches and the fit of weights count the same, so both count here.
"""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.items import PhotoObject
from sightline_server.domain.local_features import LocalFeatures, no_features
from sightline_server.stages.local_features.colours import colours_of, likeness
from sightline_server.stages.local_features.describing import features_of
from sightline_server.stages.local_features.matching import LEAST_INLIERS, inliers
from sightline_server.stages.redact import Views

NOTHING = no_features()
Images = Mapping[str, LocalFeatures]
"""By the id of a product, the local features of its image that is nearest to the object."""


def object_features(
    views: Views, item: PhotoObject, middle: Box, *, points: bool = True, colours: bool = True
) -> LocalFeatures:
    """The local features of an object in a photo, and its colours; of a whole photo those of its `middle`."""
    box = middle if item.is_whole_photo else item.box
    frame = views.of(box)
    found = features_of(frame, box) if points else NOTHING
    return replace(found, colours=colours_of(frame, box)) if colours else found


def points_in_common(described: LocalFeatures, images: Images) -> dict[str, int]:
    """The points that an object shares with the images of products, by the ids of those that share any."""
    if len(described) < LEAST_INLIERS:
        return {}
    counts = {product_id: inliers(described, image) for product_id, image in images.items()}
    return {product_id: count for product_id, count in counts.items() if count}


def likenesses(colours: NDArray[np.uint8] | None, images: Images) -> tuple[dict[str, float], float]:
    """The likeness of an object's colours to those of each image that has some, and the average of them.

    Without two that can be compared there are none: the colours count by what they are above the average.
    """
    if colours is None:
        return {}, 0.0
    alike = {
        product_id: likeness(colours, image.colours)
        for product_id, image in images.items()
        if image.colours is not None
    }
    return (alike, fmean(alike.values())) if len(alike) > 1 else ({}, 0.0)
