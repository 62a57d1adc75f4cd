"""One source of pixels for each format: what its header states, what decoding it takes, and how it is decoded.

Rule: making a source decodes nothing and is linear in the bytes. `memory` is what decoding needs at its peak, as
measured with `load_tests.direct.decoding`; it is what the limits and the budget of photos being decoded count.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sightline_server.stages import cut_jpeg, jpeg, opencv, pillow, png, webp
from sightline_server.stages.refusals import corrupt, invalid

Pixels = NDArray[np.uint8]

RGB, RGBA = 3, 4
COPIES = 2
"""OpenCV's Python module copies what it has decoded."""
COEFFICIENT_BYTES = 2
OPENCV_COMPONENTS = (1, 3)
"""Components of the JPEGs that OpenCV takes: grey and colour; CMYK has four."""
CMYK_BYTES = 26
"""Pillow needs 18 (CMYK, RGB, the array, its buffers), and the pixels cross two processes; the rest counts for time, so
that no photo takes a second of CPU."""
PNG_TIME = 2.5
"""Times its memory that a PNG counts: its pixels take longer than those of a JPEG, and 20 MiB hold few of a photo."""
WEBP_BYTES, SLOW_WEBP_BYTES = 20, 28
"""A pixel of a WebP counts for so many bytes, which it does not take, because of its time: noise takes 32 ns, with
transparency or without loss 50 ns, and few bytes can hold many such pixels."""
GIF_BYTES = 20
"""A pixel of a GIF takes 9 bytes and 34 ns."""
PILLOW_BYTES = 20
"""A TIFF of floats takes so many bytes a pixel; the others take less."""
PLAIN_PILLOW_BYTES = 12
"""An AVIF or HEIC of plain colours takes so many, a TIFF ten."""
PILLOW_HEADERS = ("tiff", "avif", "heic")
"""Formats whose headers only Pillow reads."""
UNBOUNDED = ("bmp", *PILLOW_HEADERS)
"""Formats whose estimated memory is not checked: decode processes have their own limit."""
BMP_RUNS = (1, 2)
"""Compressions of BMP by runs, in which few bytes are many pixels: Pillow needs seconds for them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A photo whose header was read. `pixels` decodes it: uint8 [H,W,3], RGB, not yet turned by `orientation`."""

    width: int
    height: int
    memory: int
    """Bytes that decoding takes at its peak."""
    pixels: Callable[[], Pixels]
    orientation: int = 1
    area: int = 0
    """Pixels that are decoded at a time where they are more than the image has."""
    scans: int = 1
    profile: bytes = b""
    """The ICC profile of the pixels, empty without one."""
    by_pillow: bool = False
    """True if Pillow decodes it, for which a decode process is needed."""


def of_jpeg(photo: bytes, max_edge: int) -> Source:
    """A JPEG, reduced while it is decoded; without its end it must be all but complete.

    OpenCV decodes those of one and three components that have their end.
    """
    header = jpeg.read(photo)
    if header.precision != jpeg.BITS:
        raise invalid(f"the photo is JPEG of {header.precision} bits a sample, supported are {jpeg.BITS}", "jpeg")
    times = min(header.width, header.height) // max_edge
    reduction = next(factor for factor in (8, 4, 2, 1) if factor <= max(1, times))
    area = header.width * header.height
    by_opencv = len(header.components) in OPENCV_COMPONENTS
    memory = (COPIES * RGB if by_opencv else CMYK_BYTES) * area // reduction**2
    if len(header.scans) > 1 or not header.holds_one_scan:
        memory += int(COEFFICIENT_BYTES * header.samples_per_pixel * area)
    return Source(
        header.width,
        header.height,
        memory,
        partial(jpeg_pixels, photo, header, reduction),
        header.orientation,
        scans=len(header.scans),
        profile=header.profile,
        by_pillow=not (by_opencv and header.ended),
    )


def jpeg_pixels(photo: bytes, header: jpeg.Jpeg, reduction: int) -> Pixels:
    """The pixels of a JPEG as they are stored."""
    if not header.ended:
        cut_jpeg.check(photo, header, pillow.jpeg_colour)
        return pillow.jpeg_colour(cut_jpeg.completed(photo, header), reduction)
    by_opencv = len(header.components) in OPENCV_COMPONENTS
    pixels = opencv.jpeg_colour(jpeg.bare(photo), reduction) if by_opencv else pillow.jpeg_colour(photo, reduction)
    if cut_jpeg.looks_blank(pixels, header):
        cut_jpeg.check(photo, header, pillow.jpeg_colour)
    return pixels


def of_png(photo: bytes, max_edge: int) -> Source:
    """A PNG; of an animation the image that readers without animation show."""
    header = png.read(photo)
    samples = max(1, header.bits // 8)
    if header.has_alpha:
        memory = COPIES * RGBA * samples
        pixels = partial(opencv.on_white, header.first_image, header.transparent_grey)
    else:
        memory = COPIES * RGB * samples
        pixels = partial(opencv.colour, header.first_image)
    # It counts for time, not for memory; so do the seven passes over interlaced pixels.
    weight = memory * PNG_TIME * (1.5 if header.interlaced else 1.0)
    area = header.width * header.height
    return Source(header.width, header.height, int(weight * area), pixels, header.orientation, profile=header.profile)


def of_webp(photo: bytes, max_edge: int) -> Source:
    """A WebP; of an animation the first frame."""
    header = webp.read(photo)
    decode = opencv.on_white if header.has_alpha else opencv.colour
    weight = SLOW_WEBP_BYTES if header.has_alpha or header.lossless else WEBP_BYTES
    memory = weight * header.width * header.height
    pixels = partial(decode, header.first_image)
    return Source(header.width, header.height, memory, pixels, header.orientation, profile=header.profile)


def of_gif(photo: bytes, max_edge: int) -> Source:
    """A GIF; of an animation the first frame."""
    if len(photo) < 13:
        raise corrupt("gif")
    width, height = struct.unpack_from("<HH", photo, 6)
    # Decoders want the last byte, and not everything that writes a GIF writes it.
    return Source(width, height, GIF_BYTES * width * height, partial(opencv.on_white, photo + b";"))


def of_bmp(photo: bytes, max_edge: int) -> Source:
    """A BMP: runs by OpenCV, everything else by Pillow, which knows the odd kinds of pixels."""
    size = size_of_runs(photo)
    if size is None:
        return of_pillow("BMP", photo, max_edge)
    width, height = size
    return Source(width, height, COPIES * RGB * width * height, partial(opencv.colour, photo))


def size_of_runs(photo: bytes) -> tuple[int, int] | None:
    """Width and height of a BMP in runs; None for any other one."""
    if len(photo) >= 34 and struct.unpack_from("<I", photo, 14)[0] >= 40:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", photo, 18)
        if compression in BMP_RUNS:
            return abs(width), abs(height)
    return None


def needs_pillow(photo: bytes, known: str) -> bool:
    """Returns whether only Pillow reads the header. For other photos `Source.by_pillow` names the decoder."""
    return known in PILLOW_HEADERS or (known == "bmp" and size_of_runs(photo) is None)


def of_pillow(name: str, photo: bytes, max_edge: int) -> Source:
    """A file in a format that Pillow calls `name`."""
    header = pillow.header(photo, name)
    return Source(
        header.width,
        header.height,
        (PLAIN_PILLOW_BYTES if header.plain else PILLOW_BYTES) * header.area,
        partial(pillow.colour, photo, name),
        header.orientation,
        area=header.area,
        profile=header.profile,
        by_pillow=True,
    )


SOURCES: Mapping[str, Callable[[bytes, int], Source]] = MappingProxyType(
    {
        "jpeg": of_jpeg,
        "png": of_png,
        "webp": of_webp,
        "gif": of_gif,
        "bmp": of_bmp,
        "tiff": partial(of_pillow, "TIFF"),
        "avif": partial(of_pillow, "AVIF"),
        "heic": partial(of_pillow, "HEIF"),
    }
)
"""By format: makes a source of a photo, for frames of a longest edge. They raise whatever a corrupt header leads to."""
