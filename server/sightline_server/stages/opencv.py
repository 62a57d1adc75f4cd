"""OpenCV as a decoder: the pixels of JPEG, PNG, WebP, GIF and BMP as they are stored, on white.

Rule: OpenCV does not apply the orientation, and no other module decodes with it. The libraries inside it write
their warnings to standard error, which `telemetry.stderr` closes to them in a server.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.stages.memory_files import fill, memory_file

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint8] | NDArray[np.uint16]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Photos share the cores already; OpenCV's own threads look for work in a busy loop between its calls.
cv2.setNumThreads(1)

REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
"""Flags of OpenCV by reduction. They give BGR: OpenCV 5 refuses them together with IMREAD_COLOR_RGB."""
RGB, RGBA = 3, 4
DESCRIPTORS = "/proc/self/fd"
"""The folder in which a file in memory has a name, for this process only."""
BAND_PIXELS = 1 << 16
"""Pixels that are laid on white at a time, so that the sums take little memory."""


class NotDecodedError(Exception):
    """OpenCV cannot decode the file."""


def jpeg_colour(photo: bytes, reduction: int = 1) -> Pixels:
    """The pixels [H,W,3] RGB of a JPEG that has its end, both edges reduced. Raises `NotDecodedError`."""
    flags = REDUCED.get(reduction, cv2.IMREAD_COLOR_RGB) | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = decoded_in_place(photo, flags)
    return in_rgb(pixels, cv2.COLOR_BGR2RGB) if reduction in REDUCED else pixels.astype(np.uint8, copy=False)


def colour(photo: bytes) -> Pixels:
    """The pixels [H,W,3] RGB without regard to transparency. Raises `NotDecodedError`."""
    return decoded(photo, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION).astype(np.uint8, copy=False)


def on_white(photo: bytes, transparent_grey: int | None = None) -> Pixels:
    """The pixels [H,W,3] RGB with white where they are transparent. Raises `NotDecodedError`.

    `transparent_grey` is the value of a grey PNG's `tRNS`, which OpenCV passes over.
    """
    pixels = decoded(photo, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2 and transparent_grey is not None:
        pixels[pixels == transparent_grey] = np.iinfo(pixels.dtype).max
    if pixels.dtype == np.uint16:
        # In place, because pixels of 16 bits are many bytes.
        pixels = np.right_shift(pixels, 8, out=pixels).astype(np.uint8)
    if pixels.ndim == 2:
        return in_rgb(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == RGB:
        return in_rgb(pixels, cv2.COLOR_BGR2RGB)
    return flattened(pixels.astype(np.uint8, copy=False))


def in_rgb(pixels: Samples, conversion: int) -> Pixels:
    """The pixels after OpenCV's `conversion`, which leads to RGB."""
    return cv2.cvtColor(pixels, conversion).astype(np.uint8, copy=False)


def decoded(photo: bytes, flags: int) -> Samples:
    """The file as OpenCV decodes it. Raises `NotDecodedError`."""
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(photo, np.uint8), flags)
    except cv2.error as error:
        raise NotDecodedError from error
    if pixels is None:
        raise NotDecodedError
    samples: Samples = pixels
    return samples


def decoded_in_place(photo: bytes, flags: int) -> Samples:
    """`decoded` without a copy of the pixels, which OpenCV makes of what it decodes from bytes, but not from a file.

    The file is in memory. To be used only where a file that ends early is refused: from files OpenCV decodes those too.
    """
    pixels: Any = None
    try:
        with memory_file(len(photo)) as file:
            fill(file, photo)
            pixels = cv2.imread(f"{DESCRIPTORS}/{file}", dst=None, flags=flags)
    except OSError:
        pass  # A decode process may not write to files.
    except cv2.error as error:
        raise NotDecodedError from error
    if pixels is None or not pixels.size:
        # OpenCV does not say whether the photo or the file was at fault: without /proc it finds none.
        return decoded(photo, flags)
    samples: Samples = pixels
    return samples


def flattened(layer: Pixels) -> Pixels:
    """`layer` [H,W,4] BGRA on white, [H,W,3] RGB in the same memory; rounded as Pillow's `alpha_composite` does."""
    height, width = layer.shape[:2]
    # Three bytes of a pixel never reach beyond the four that were read, when rows are taken from the first on.
    target = layer.reshape(-1)[: height * width * 3].reshape(height * width, 3)
    source = layer.reshape(height * width, 4)
    for start in range(0, height * width, BAND_PIXELS):
        planes = cv2.split(source[start : start + BAND_PIXELS].reshape(1, -1, RGBA))
        alpha = planes[3].astype(np.uint16)
        ground = 255 * (255 - alpha) + 128
        # At most 255 * 255 + 128, and (sums + sums / 256) / 256 is the division by 255.
        sums = [plane.astype(np.uint16) * alpha + ground for plane in planes[2::-1]]
        band = cv2.merge([((each + (each >> 8)) >> 8).astype(np.uint8) for each in sums])
        target[start : start + BAND_PIXELS] = band.reshape(-1, RGB)
    return target.reshape(height, width, 3)
