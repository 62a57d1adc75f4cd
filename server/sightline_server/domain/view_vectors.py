"""The vectors of a product's images as its catalog stores them: those of one image behind each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import kept_views


def in_views(embeddings: Sequence[NDArray[np.float32]], most: int) -> tuple[list[int], NDArray[np.float32]]:
    """The vectors to store of a product whose images have `embeddings`, each float32 [N,D], N at least 1.

    Returns the position of the image of each vector, and the vectors, float32 [V,D]. `most` is as in `kept_views`.
    """
    places = kept_views([len(each) for each in embeddings], most)
    counts = np.bincount(places, minlength=len(embeddings)).tolist()
    return places, np.concatenate([each[:count] for each, count in zip(embeddings, counts, strict=True)])
