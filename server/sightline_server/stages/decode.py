"""Encoded bytes -> `Frame`: RGB, upright, of bounded size. The only place that reads a photo's header.

Rule: whatever the bytes are, the outcome is a `Frame` or `SightlineError`, and no pixel is decoded before the header's
size was checked. JPEG goes through OpenCV, which can decode at a half, a quarter or an eighth of the size; every other
format, and a JPEG that OpenCV does not take, goes through Pillow.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from sightline_server.domain.image import Frame
from sightline_server.errors import ErrorKind, SightlineError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
ORIENTATION_TAG = 0x0112
TIFF_TILE_TAGS = (322, 323)
MAX_SCANS = 100
"""Scans of one JPEG. A usual progressive one has about ten; each costs a pass over all pixels and maybe few bytes."""
SEGMENT_END = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""The next marker behind a scan's data, in which 0xff is escaped."""
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

# Our own limit is lower than Pillow's and is an error of the caller, not a warning.
Image.MAX_IMAGE_PIXELS = None
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Pictures share the cores already; OpenCV's own threads look for work in a busy loop between its calls.
cv2.setNumThreads(1)

REDUCED = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_COLOR_RGB,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_COLOR_RGB,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_COLOR_RGB,
}


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What may be decoded, and how large a frame may become: `max_edge` is its longer edge in pixels."""

    max_bytes: int
    max_pixels: int
    max_edge: int


def decode(photo: bytes, limits: DecodeLimits) -> Frame:
    """Decodes one photo.

    Raises `SightlineError` of kind INVALID_IMAGE (empty, unknown format, truncated, damaged) or LIMIT_EXCEEDED.
    """
    if not photo:
        raise SightlineError(ErrorKind.INVALID_IMAGE, "there is no photo", field="photo")
    if len(photo) > limits.max_bytes:
        raise too_large("bytes", len(photo), limits.max_bytes)
    try:
        with Image.open(io.BytesIO(photo), formats=FORMATS) as header:
            check_size(header, limits)
            check_scans(photo, header)
            pixels = decode_jpeg(photo, header, limits.max_edge) if header.format in ("JPEG", "MPO") else None
            if pixels is None:
                pixels = decode_any(header, limits.max_edge)
    except SightlineError:
        raise
    except MemoryError as error:
        raise SightlineError(ErrorKind.LIMIT_EXCEEDED, "the photo needs too much memory", field="photo") from error
    except Exception as error:  # image libraries raise whatever their parsers meet
        raise SightlineError(
            ErrorKind.INVALID_IMAGE, "the photo is no picture in a supported format, or is damaged", field="photo"
        ) from error
    return Frame(bounded(pixels, limits.max_edge))


def check_size(header: Image.Image, limits: DecodeLimits) -> None:
    """Raises `SightlineError` when the header's size is beyond the limit or empty."""
    width, height = header.size
    if width < 1 or height < 1:
        raise SightlineError(ErrorKind.INVALID_IMAGE, "the photo has no pixels", field="photo")
    if width * height > limits.max_pixels:
        raise too_large("pixels", width * height, limits.max_pixels)
    if isinstance(header, TiffImagePlugin.TiffImageFile):
        # A tile is decoded whole, however little of it lies in the picture.
        across, down = (header.tag_v2.get(tag, 0) for tag in TIFF_TILE_TAGS)
        if across * down > limits.max_pixels:
            raise too_large("pixels", across * down, limits.max_pixels)


def check_scans(photo: bytes, header: Image.Image) -> None:
    """Raises `SightlineError` when a JPEG has so many scans that decoding it takes minutes."""
    if header.format not in ("JPEG", "MPO"):
        return
    place, scans = 2, 0
    while (found := SEGMENT_END.search(photo, place)) and (marker := found.group()[1]) != END_OF_IMAGE:
        scans += marker == START_OF_SCAN
        if scans > MAX_SCANS:
            raise SightlineError(ErrorKind.INVALID_IMAGE, f"the photo has more than {MAX_SCANS} scans", field="photo")
        place = found.end() + int.from_bytes(photo[found.end() : found.end() + 2])


def decode_jpeg(photo: bytes, header: Image.Image, max_edge: int) -> NDArray[np.uint8] | None:
    """The upright pixels of a grey or colour JPEG, reduced while decoding; None when OpenCV does not take it."""
    if header.mode not in ("RGB", "L"):
        return None
    longer = max(header.size)
    reduction = next(factor for factor in (8, 4, 2, 1) if factor == 1 or longer // factor >= max_edge // 2)
    flags = REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(photo, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else upright(pixels.astype(np.uint8, copy=False), orientation(header))


def decode_any(picture: Image.Image, max_edge: int) -> NDArray[np.uint8]:
    """The upright pixels of the first frame of any supported picture; transparency becomes white."""
    picture.draft("RGB", (max_edge, max_edge))
    picture.load()
    # Now, and not before: some formats carry EXIF behind the pixels, TIFF is turned while it is loaded, and conversions
    # drop the block.
    turned = orientation(picture)
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


def orientation(header: Image.Image) -> int:
    """The EXIF orientation 1..8; 1 when there is none or the block is damaged."""
    try:
        value = header.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF is no reason to refuse a photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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


def too_large(what: str, found: int, limit: int) -> SightlineError:
    """The error of a photo with more `what` than allowed."""
    return SightlineError(
        ErrorKind.LIMIT_EXCEEDED,
        f"the photo has {found} {what}, the limit is {limit}",
        field="photo",
        metadata={"limit": f"max_photo_{what}", "value": str(limit)},
    )
