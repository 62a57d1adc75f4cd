"""An image's embedding and a text's -> the vector that is searched.

Rule: pure. Both are of length 1 and of towers that were trained together, so their weighted sum lies between them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import EmbeddedObject

LEAST_LENGTH = 1e-6
"""Length of a sum below which its direction is rounding: image and text are opposite to each other."""


def combined(objects: Sequence[EmbeddedObject], text: NDArray[np.float32], weight: float) -> list[EmbeddedObject]:
    """The objects with normalize((1 - weight) * image + weight * text), in order.

    Objects whose sum has no direction are left out, as those whose embedding cannot be searched are.
    """
    found = []
    for each in objects:
        total = np.float32(1 - weight) * each.embedding + np.float32(weight) * text
        length = float(np.linalg.norm(total))
        if length >= LEAST_LENGTH:
            found.append(EmbeddedObject(each.item, (total / length).astype(np.float32)))
    return found
