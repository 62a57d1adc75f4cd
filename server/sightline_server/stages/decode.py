"""Encoded bytes -> `Frame`: RGB, upright, of bounded size.

Rule: whatever the bytes are, the outcome is a `Frame` or `SightlineError`, and no pixel is decoded before the header's
size was checked. Only EXIF turns a photo; XMP does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image import Frame
from sightline_server.errors import SightlineError
from sightline_server.stages.colours import to_srgb
from sightline_server.stages.formats import USUAL_FORMATS, photo_format
from sightline_server.stages.opencv import NotDecodedError
from sightline_server.stages.refusals import corrupt, invalid, too_large, too_much_memory
from sightline_server.stages.sources import SOURCES, UNBOUNDED, Source, needs_pillow

Pixels = NDArray[np.uint8]

MAX_EDGE = 32_767
"""The most pixels of the longer edge: no camera produces more, and some decoders count in 16 bits."""
BYTES_PER_PIXEL = 6
"""Bytes to decode a pixel of an ordinary photo. Any photo may take as much as the largest ordinary one."""
ORDINARY_PIXELS = 64_000_000
SCANNED_PIXELS = 1_500_000_000
"""Pixels times scans of one JPEG: a scan without data still costs a pass over all pixels."""
LARGE_PIXELS = 24_000_000
"""A larger photo is reduced before it is turned, which saves two copies of it and may round a pixel differently."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Limits on photos and on decoded frames: `max_edge` is the longer edge of a frame in pixels.

    `formats` are keys of `SOURCES`.
    """

    max_bytes: int
    max_pixels: int
    max_edge: int
    formats: tuple[str, ...] = USUAL_FORMATS


@dataclass(frozen=True, slots=True)
class Prepared:
    """A photo that is within the limits and not yet decoded."""

    source: Source
    format: str
    max_edge: int

    @property
    def weight(self) -> int:
        """Bytes that decoding takes, at least those of an ordinary photo of as many pixels: they also take time."""
        return max(self.source.memory, BYTES_PER_PIXEL * self.source.width * self.source.height)

    def decode(self) -> Frame:
        """Decodes the photo. Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED."""
        pixels = self.pixels()
        with own_errors(self.format):
            return Frame(pixels, to_srgb(self.source.profile))

    def pixels(self) -> Pixels:
        """The pixels of the frame, uint8 [H,W,3]. Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED."""
        with own_errors(self.format):
            pixels = self._stored()
            if pixels.shape[0] * pixels.shape[1] > LARGE_PIXELS:
                pixels = bounded(pixels, self.max_edge)
            return bounded(upright(pixels, self.source.orientation), self.max_edge)

    def _stored(self) -> Pixels:
        try:
            return self.source.pixels()
        except (NotDecodedError, OSError):
            # Decoders do not say whether the file or a lack of memory was at fault; if it was memory, this raises too.
            np.empty(self.weight, np.uint8)
            raise


@dataclass(frozen=True, slots=True)
class Isolated:
    """A photo that a decode process is to decode, and its format: only Pillow takes it."""

    format: str


def decode(photo: bytes, limits: DecodeLimits) -> Frame:
    """Decodes one photo.

    Raises `SightlineError` of kind INVALID_IMAGE (empty, unknown format, truncated, corrupt) or LIMIT_EXCEEDED.
    """
    return prepare(photo, limits).decode()


def prepare(photo: bytes, limits: DecodeLimits) -> Prepared:
    """Reads the header and checks it; linear in the bytes unless Pillow reads it, which may take minutes.

    Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED.
    """
    return prepared(photo, recognised(photo, limits), limits)


def prepare_here(photo: bytes, limits: DecodeLimits) -> Prepared | Isolated:
    """`prepare` for a process that must not run Pillow on a photo: linear in the bytes.

    Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED.
    """
    known = recognised(photo, limits)
    if needs_pillow(photo, known):
        return Isolated(known)
    here = prepared(photo, known, limits)
    return Isolated(known) if here.source.by_pillow else here


def recognised(photo: bytes, limits: DecodeLimits) -> str:
    """The format of a photo that is neither empty nor too long. Raises `SightlineError`."""
    if not photo:
        raise invalid("there is no photo")
    if len(photo) > limits.max_bytes:
        raise too_large("bytes", len(photo), limits.max_bytes)
    return photo_format(photo, limits.formats)


def prepared(photo: bytes, known: str, limits: DecodeLimits) -> Prepared:
    """A photo in the format `known`, its header checked. Raises `SightlineError`."""
    with own_errors(known):
        source = SOURCES[known](photo, limits.max_edge)
        check(source, known, limits)
    return Prepared(source, known, limits.max_edge)


@contextmanager
def own_errors(known: str) -> Iterator[None]:
    """Turns whatever the image libraries raise into `SightlineError`."""
    try:
        yield
    except SightlineError:
        raise
    except MemoryError as error:
        raise too_much_memory() from error
    except Exception as error:  # image libraries raise whatever their parsers meet
        raise corrupt(known) from error


def check(source: Source, known: str, limits: DecodeLimits) -> None:
    """Raises `SightlineError` when what a header states is empty or beyond the limits."""
    if source.width < 1 or source.height < 1:
        raise invalid("the photo has no pixels", known)
    area = max(source.area, source.width * source.height)
    if area > limits.max_pixels:
        raise too_large("pixels", area, limits.max_pixels)
    if max(source.width, source.height) > MAX_EDGE:
        raise too_large("edge", max(source.width, source.height), MAX_EDGE)
    most = BYTES_PER_PIXEL * max(limits.max_pixels, ORDINARY_PIXELS)
    if (source.memory > most and known not in UNBOUNDED) or area * source.scans > SCANNED_PIXELS:
        raise too_large("pixels", area, min(area * most // source.memory, SCANNED_PIXELS // source.scans), known)


def upright(pixels: Pixels, exif_orientation: int) -> Pixels:
    """`pixels` [H,W,3] turned so that EXIF orientation `exif_orientation` shows as intended; contiguous."""
    if exif_orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels).astype(np.uint8, copy=False)
    # After the transposition every case is a mirror: about the vertical axis, the horizontal one, or both.
    mirror = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(exif_orientation)
    if mirror is None:
        return pixels
    # In place, because another frame costs a millisecond; Pillow's pixels are read-only.
    return cv2.flip(pixels, mirror, pixels if pixels.flags.writeable else None).astype(np.uint8, copy=False)


def bounded(pixels: Pixels, max_edge: int) -> Pixels:
    """`pixels` reduced by area averaging when its longer edge is above `max_edge`."""
    height, width = pixels.shape[:2]
    if max(height, width) <= max_edge:
        return pixels
    scale = max_edge / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
