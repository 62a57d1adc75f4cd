"""`Frame` -> the codes in it that hold a GTIN: EAN-13, UPC-A, EAN-8, ITF-14 and QR, at any angle. The zxing-cpp import.

Rule: bounded work, whatever the photo shows: a grey image of limited size is searched once for QR codes and once, in a
few of its rows, for bars; then at most three cuts are read where bars lie at an angle (`stripes`). The content of a
code without a GTIN is dropped at once.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from sightline_server.domain.codes import PhotoCode
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.stages.codes.content import gtin_in
from sightline_server.stages.codes.stripes import Grey, cut_out, striped

BARCODES = [
    zxingcpp.BarcodeFormat.EAN13,
    zxingcpp.BarcodeFormat.UPCA,
    zxingcpp.BarcodeFormat.EAN8,
    zxingcpp.BarcodeFormat.ITF14,
]
BARS = zxingcpp.BarcodeFormats(BARCODES)
SQUARES = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])
READABLE = (zxingcpp.ContentType.Text, zxingcpp.ContentType.GS1)
STRIPES_PIXELS = 600_000
"""Pixels of the image in which areas with bars are searched for."""
BARS_ROWS = 64
"""Rows of the image that are read for upright bars. Bars are tall, and all rows of a barcode say the same."""
HALVED_FROM = 1.75
"""An edge that is at least so many times too long is halved, which costs a tenth of any other reduction."""
LEAST_EDGE = 16
"""Pixels of the shorter edge of an image that can hold a code."""


def read_codes(frame: Frame, max_pixels: int) -> tuple[PhotoCode, ...]:
    """The codes of the frame, which is reduced to `max_pixels` before."""
    grey = reduced(cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), max_pixels)
    if min(grey.shape) < LEAST_EDGE:
        return ()
    return tuple(photo_codes(grey))


def photo_codes(grey: Grey) -> Iterator[PhotoCode]:
    """The codes of a grey image, first those that stand upright."""
    yield from read(grey, SQUARES, every_row(1), grey.shape)
    step = max(1, grey.shape[0] // BARS_ROWS)
    yield from read(np.ascontiguousarray(grey[step // 2 :: step]), BARS, every_row(step), grey.shape)
    small = grey
    while small.size > STRIPES_PIXELS:
        small = halved(small)
    for place in striped(small):
        cut = cut_out(grey, place, grey.shape[1] / small.shape[1])
        yield from read(cut.pixels, BARS, cut.to_image, grey.shape)


def every_row(step: int) -> NDArray[np.float64]:
    """Maps the pixels of every `step`th row to those of the image, [2,3]."""
    return np.array([[1.0, 0.0, 0.0], [0.0, step, step // 2]])


def reduced(grey: Grey, max_pixels: int) -> Grey:
    """`grey` of at most `max_pixels`."""
    while (excess := (grey.size / max_pixels) ** 0.5) > 1:
        if excess >= HALVED_FROM:
            grey = halved(grey)
            continue
        size = max(1, int(grey.shape[1] / excess)), max(1, int(grey.shape[0] / excess))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    return grey


def halved(grey: Grey) -> Grey:
    """`grey` with edges half as long."""
    size = max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def read(
    pixels: Grey, formats: zxingcpp.BarcodeFormats, to_image: NDArray[np.float64], shape: tuple[int, ...]
) -> Iterator[PhotoCode]:
    """The codes in `pixels`, which `to_image` [2,3] maps to an image of `shape`."""
    found = zxingcpp.read_barcodes(pixels, formats, try_rotate=False, try_downscale=False, try_invert=False)
    for code in found:
        if gtin := gtin_of(code):
            yield PhotoCode(box_of(code.position, to_image, shape), gtin)


def gtin_of(code: zxingcpp.Barcode) -> int:
    """The GTIN of a code; 0 without one. A row that misses the first bars of an ITF-14 reads as a shorter ITF code."""
    if code.content_type not in READABLE or (code.symbology == zxingcpp.BarcodeFormat.ITF and len(code.text) != 14):
        return 0
    return gtin_in(code.text)


def box_of(position: zxingcpp.Position, to_image: NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    """The rectangle around the corners of a code, with a pixel around it: a barcode may be read in one row."""
    corners = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    points = np.array([(corner.x, corner.y, 1.0) for corner in corners]) @ to_image.T
    size = np.array((shape[1], shape[0]), np.float64)
    low = np.clip((points.min(axis=0) - 1) / size, 0.0, 1 - 2 / size)
    high = np.clip((points.max(axis=0) + 1) / size, 2 / size, 1.0)
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))
