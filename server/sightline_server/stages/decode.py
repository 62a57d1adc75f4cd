"""Encoded bytes -> `Frame`: RGB, upright, of bounded size.

Rule: whatever the bytes are, the outcome is a `Frame` or `SightlineError`, and no pixel is decoded before the header's
size was checked. JPEG goes through OpenCV, which can decode at a half, a quarter or an eighth of the size; every other
format, and a JPEG that OpenCV does not take, goes through Pillow. Only EXIF turns a photo; XMP does not.
"""

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from sightline_server.domain.image import Frame
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import cut_jpeg, exif, jpeg
from sightline_server.stages.formats import photo_format
from sightline_server.stages.refusals import corrupt, invalid, too_large

TIFF_TILE_TAGS = (322, 323)

# Our own limit is lower than Pillow's and is an error of the caller, not a warning.
Image.MAX_IMAGE_PIXELS = None
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Photos share the cores already; OpenCV's own threads look for work in a busy loop between its calls.
cv2.setNumThreads(1)

REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
"""Flags of OpenCV by reduction. They give BGR: OpenCV 5 refuses them together with IMREAD_COLOR_RGB."""
OPENCV_COMPONENTS = (1, 3)
"""Components of the JPEGs that OpenCV takes: grey and colour; CMYK has four."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What may be decoded, and how large a frame may become: `max_edge` is its longer edge in pixels."""

    max_bytes: int
    max_pixels: int
    max_edge: int


def decode(photo: bytes, limits: DecodeLimits) -> Frame:
    """Decodes one photo.

    Raises `SightlineError` of kind INVALID_IMAGE (empty, unknown format, truncated, corrupt) or LIMIT_EXCEEDED.
    """
    if not photo:
        raise invalid("there is no photo")
    if len(photo) > limits.max_bytes:
        raise too_large("bytes", len(photo), limits.max_bytes)
    known = photo_format(photo)
    try:
        pixels = decode_jpeg(photo, limits) if known == "jpeg" else decode_other(photo, known, limits)
    except SightlineError:
        raise
    except MemoryError as error:
        raise SightlineError(ErrorKind.LIMIT_EXCEEDED, "the photo needs too much memory", field="photo") from error
    except Exception as error:  # image libraries raise whatever their parsers meet
        raise corrupt(known) from error
    return Frame(bounded(pixels, limits.max_edge))


def check_size(width: int, height: int, limits: DecodeLimits) -> None:
    """Raises `SightlineError` when the size that a header states is beyond the limit or empty."""
    if width < 1 or height < 1:
        raise invalid("the photo has no pixels")
    if width * height > limits.max_pixels:
        raise too_large("pixels", width * height, limits.max_pixels)


def decode_jpeg(photo: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    """The upright pixels of a JPEG, reduced while decoding; a JPEG without its end must be all but complete."""
    header = jpeg.read(photo)
    check_size(header.width, header.height, limits)
    if header.precision != jpeg.BITS:
        raise invalid(f"the photo is JPEG of {header.precision} bits a sample, supported are {jpeg.BITS}", "jpeg")
    reduction = reduction_to(limits.max_edge, header)
    if not header.ended:
        cut_jpeg.check(photo, header, by_pillow)
        return upright(by_pillow(cut_jpeg.completed(photo, header), reduction), header.orientation)
    pixels = (by_opencv if len(header.components) in OPENCV_COMPONENTS else by_pillow)(photo, reduction)
    if cut_jpeg.looks_blank(pixels, header):
        cut_jpeg.check(photo, header, by_pillow)
    return upright(pixels, header.orientation)


def reduction_to(max_edge: int, header: jpeg.Jpeg) -> int:
    """By how much both edges of a JPEG are reduced while it is decoded: both stay at `max_edge` or more."""
    times = min(header.width, header.height) // max_edge
    return next(factor for factor in (8, 4, 2, 1) if factor <= max(1, times))


def by_opencv(photo: bytes, reduction: int) -> NDArray[np.uint8]:
    """The pixels of a grey or colour JPEG as they are stored, with both edges reduced."""
    flags = REDUCED.get(reduction, cv2.IMREAD_COLOR_RGB) | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), flags)
    if pixels is None:
        raise corrupt("jpeg")
    if reduction in REDUCED:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return pixels.astype(np.uint8, copy=False)


def by_pillow(photo: bytes, reduction: int) -> NDArray[np.uint8]:
    """The same as `by_opencv`, for any JPEG; slower, but it writes no warning to stderr when data is missing."""
    with Image.open(io.BytesIO(jpeg.bare(photo)), formats=("JPEG",)) as image:
        image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
        return np.asarray(in_mode(image, "RGB"))


def decode_other(photo: bytes, known: str, limits: DecodeLimits) -> NDArray[np.uint8]:
    """The upright pixels of the first frame of a photo in another format than JPEG."""
    with Image.open(io.BytesIO(photo), formats=(known.upper(),)) as image:
        check_size(*image.size, limits)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # A tile is decoded whole, however little of it lies in the image.
            across, down = (image.tag_v2.get(tag, 0) for tag in TIFF_TILE_TAGS)
            if across * down > limits.max_pixels:
                raise too_large("pixels", across * down, limits.max_pixels)
        return decode_any(image)


def decode_any(picture: Image.Image) -> NDArray[np.uint8]:
    """The upright pixels of an open image; transparency becomes white."""
    # Pillow turns a TIFF while it loads it, by XMP where the file has no EXIF.
    picture.info.pop("xmp", None)
    picture.load()
    # Now, and not before: some formats carry EXIF behind the pixels.
    turned = exif.orientation(picture.info.get("exif") or b"")
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(to_eight_bits(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = on_white(picture)
    return upright(np.asarray(in_mode(picture, "RGB")), turned)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture with white where it is transparent, RGBA."""
    layered = in_mode(picture, "RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    ground.alpha_composite(layered)
    return ground


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in `mode`; itself when it is, because `convert` would copy up to 256 MB."""
    return picture if picture.mode == mode else picture.convert(mode)


def to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of more than eight bits, scaled to 0..255 by 16 bits or, for floats, by their own range."""
    if np.issubdtype(values.dtype, np.integer):
        eight: NDArray[np.uint8] = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        return eight
    top = max(float(np.max(values, initial=0.0, where=np.isfinite(values))), 1e-9)
    known = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0)
    scaled: NDArray[np.uint8] = (np.clip(known / top, 0.0, 1.0) * 255.0).astype(np.uint8)
    return scaled


def upright(pixels: NDArray[np.uint8], exif_orientation: int) -> NDArray[np.uint8]:
    """`pixels` [H,W,3] turned so that EXIF orientation `exif_orientation` shows as intended; contiguous."""
    if exif_orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels).astype(np.uint8, copy=False)
    # After the transposition every case is a mirror: about the vertical axis, the horizontal one, or both.
    mirror = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(exif_orientation)
    return pixels if mirror is None else cv2.flip(pixels, mirror).astype(np.uint8, copy=False)


def bounded(pixels: NDArray[np.uint8], max_edge: int) -> NDArray[np.uint8]:
    """`pixels` reduced by area averaging when its longer edge is above `max_edge`."""
    height, width = pixels.shape[:2]
    if max(height, width) <= max_edge:
        return pixels
    scale = max_edge / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
