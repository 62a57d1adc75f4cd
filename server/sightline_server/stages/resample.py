"""Images at another size. Pure.

Rule: a result is the visible part of the scaled image, as if the whole had been scaled and then cut. However thin the
image is, that takes a bounded amount of memory.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline_server.domain.geometry import Placement
from sightline_server.domain.preprocess import Resampler

Pixels = NDArray[np.uint8]

HALVE_ABOVE = 3
"""Images of at least this multiple of the target are halved first by `bicubic antialiased`: area averages of 2x2
pixels, cheaper than the wide filter that they would otherwise need, and the same to the default embedder
(docs/guide/models.md has the figures)."""

WHOLE_PIXELS = 1 << 21
"""A scaled image of at most this many pixels is made whole and then cut, which is exact."""

FILTERS = {
    Resampler.BILINEAR: Image.Resampling.BILINEAR,
    Resampler.BICUBIC: Image.Resampling.BICUBIC,
    Resampler.HALVED_BICUBIC: Image.Resampling.BICUBIC,
    Resampler.LANCZOS: Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Window:
    """The visible part, [top:bottom, left:right], of a scaled image of `width` x `height` pixels."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, place: Placement) -> "Window":
        """The part of the scaled image of `place` that is on its canvas."""
        left, top = max(0, -place.left), max(0, -place.top)
        right = min(place.inner_width, place.canvas_width - place.left)
        bottom = min(place.inner_height, place.canvas_height - place.top)
        return cls(place.inner_width, place.inner_height, left, top, right, bottom)

    @property
    def is_whole(self) -> bool:
        """True where all of the scaled image is visible."""
        return (self.right - self.left, self.bottom - self.top) == (self.width, self.height)

    def cut(self, scaled: Pixels) -> Pixels:
        """The visible part of the whole scaled image."""
        return scaled if self.is_whole else scaled[self.top : self.bottom, self.left : self.right]


def resample(pixels: Pixels, window: Window, resampler: Resampler) -> Pixels:
    """The visible part of uint8 [H,W,3] `pixels` at the size of `window`."""
    if resampler is Resampler.NEAREST:
        return nearest(pixels, window)
    if resampler is Resampler.AREA:
        return area(pixels, window)
    if resampler is Resampler.HALVED_BICUBIC:
        pixels = halved(pixels, window)
    return pillow(pixels, window, FILTERS[resampler])


def nearest(pixels: Pixels, window: Window) -> Pixels:
    """The pixel at the centre of each target pixel."""
    rows = centres(pixels.shape[0], window.height)[window.top : window.bottom]
    columns = centres(pixels.shape[1], window.width)[window.left : window.right]
    return pixels[rows[:, None], columns]


def centres(size: int, target: int) -> NDArray[np.intp]:
    """Index of the pixel of `size` at the centre of each of the `target` pixels; summed up in Pillow's order."""
    step = size / target
    positions = np.full(target, step)
    positions[0] = step / 2
    return np.minimum(np.cumsum(positions).astype(np.intp), size - 1)


def area(pixels: Pixels, window: Window) -> Pixels:
    """Area averages where an edge shrinks, bilinear where it grows."""
    height, width = pixels.shape[:2]
    if (window.width < width and window.height > height) or (window.height < height and window.width > width):
        # OpenCV averages areas only where both edges shrink: first the one that does.
        shrunk = opencv(pixels, min(width, window.width), min(height, window.height), cv2.INTER_AREA)
        return area(shrunk, window)
    if window.width < width or 2 * window.height < height:
        return window.cut(opencv(pixels, window.width, window.height, cv2.INTER_AREA))
    if window.is_whole:
        return opencv(pixels, window.width, window.height, cv2.INTER_LINEAR)
    return pillow(pixels, window, Image.Resampling.BILINEAR)


def opencv(pixels: Pixels, width: int, height: int, interpolation: int) -> Pixels:
    """The whole image at the new size."""
    return cv2.resize(pixels, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def halved(pixels: Pixels, window: Window) -> Pixels:
    """The image, halved until it is less than `HALVE_ABOVE` times the scaled size in one direction."""
    while pixels.shape[0] >= HALVE_ABOVE * window.height and pixels.shape[1] >= HALVE_ABOVE * window.width:
        pixels = opencv(pixels, pixels.shape[1] // 2, pixels.shape[0] // 2, cv2.INTER_AREA)
    return pixels


def pillow(pixels: Pixels, window: Window, filter: Image.Resampling) -> Pixels:
    """The visible part by one of Pillow's filters."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if window.is_whole or window.width * window.height <= WHOLE_PIXELS:
        return window.cut(np.asarray(image.resize((window.width, window.height), filter)))
    across, down = image.width / window.width, image.height / window.height
    box = window.left * across, window.top * down, window.right * across, window.bottom * down
    return np.asarray(image.resize((window.right - window.left, window.bottom - window.top), filter, box=box))
