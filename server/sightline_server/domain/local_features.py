"""Local features of an image: points that can be found again in another image, each with a descriptor.

The colours of the image as a whole are kept with them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DESCRIPTOR = 128
"""Numbers of a descriptor of SIFT."""
COLOURS = 6 * 8 * 8
"""Numbers of a colour histogram."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """N points of one image: `points` float32 [N,2], x and y in pixels of the reduced image in which they were found,
    and `descriptors` uint8 [N,128]. `colours` is the histogram of all of its pixels (`stages.local_features.colours`),
    uint8 [384]; None where it is not known. `text` is what is printed on the image; None where it was not read.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    colours: NDArray[np.uint8] | None = None
    text: str | None = None

    def __len__(self) -> int:
        return len(self.points)


def no_features() -> LocalFeatures:
    """Those of an image without texture."""
    return LocalFeatures(np.empty((0, 2), np.float32), np.empty((0, DESCRIPTOR), np.uint8))
