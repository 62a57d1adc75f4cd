"""Images between the stages.

Rule: pixels are RGB uint8, C-contiguous and upright; no holder may write to them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Placement


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded photo: `pixels` is uint8 [H,W,3] RGB, EXIF orientation applied, of bounded size.

    `to_srgb` converts pixels of it to sRGB; None where they are.
    """

    pixels: NDArray[np.uint8]
    to_srgb: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.pixels.shape[0])

    def in_srgb(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A part of the frame, perhaps resized, in sRGB."""
        return part if self.to_srgb is None else self.to_srgb(part)


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An image as a model sees it: `pixels` uint8 [h,w,3] of the model's size, and the image's position in it."""

    pixels: NDArray[np.uint8]
    placement: Placement


@dataclass(frozen=True, slots=True)
class Crop:
    """One object at the embedder's input size: `pixels` uint8 [h,w,3], in the embedder's order of channels."""

    pixels: NDArray[np.uint8]
