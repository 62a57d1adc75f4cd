"""JPEGs that end early: how much of the image is missing.

Rule: at most `MAX_MISSING` of the image may be missing, whatever a decoder has read ahead. No decoder reports where its
data ended, so the image is decoded several times, each with another continuation of the data: everything from the first
MCU on that the continuation changes was not in the file. A progressive JPEG has pixels from its first scan on, but
coarse ones; it counts as whole only when every coefficient has come to its last bit, so the cut must lie in the last of
the scans that do so, and the share that is missing is that of this scan.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sightline_server.stages.jpeg import END_MARKER, Jpeg, Scan
from sightline_server.stages.refusals import truncated

MAX_MISSING = 0.01
LARGE_PIXELS = 4_000_000
"""Larger images are compared at half their edges; smaller copies would show too little of a progressive scan."""
MAX_WORK = 290_000_000
PASSES = 10
"""Pixels times scans and `PASSES` of an image that is compared, about a second: 26 MP, or 14 MP in ten scans."""
BLOCK = 8
GREYS = {4: (63, 64)}
OTHER_GREY = (128,)
"""The value that decoders show where there was no data, by the number of components; CMYK shows half of all inks."""
FILLED = 16
"""Zero bytes at the end of the data that count as filling, as in a download that reserved its space."""
RESTARTS = tuple(bytes((0xFF, code)) for code in range(0xD0, 0xD8))
TAIL_SEED = 1
PIXELS_PER_TAIL_BYTE = 32
"""The continuation must reach over `MAX_MISSING` of the image: a random block takes about 50 bytes."""
LEAST_TAIL = 4096

Pixels = NDArray[np.uint8]
Decoder = Callable[[bytes, int], Pixels]
"""Decodes a JPEG with both edges reduced by a factor, or raises."""


def looks_blank(pixels: Pixels, jpeg: Jpeg) -> bool:
    """Returns whether the last pixel is what decoders show where there was no data; few photos end so."""
    return bool(np.isin(pixels[-1, -1], GREYS.get(len(jpeg.components), OTHER_GREY)).all())


def completed(photo: bytes, jpeg: Jpeg) -> bytes:
    """The photo with an end marker where its data ends, so that every decoder takes it."""
    return photo[: data_end(photo, jpeg)] + END_MARKER


def check(photo: bytes, jpeg: Jpeg, decode: Decoder) -> None:
    """Raises `SightlineError` of kind INVALID_IMAGE when more than `MAX_MISSING` of the image is missing."""
    too_much = jpeg.width * jpeg.height * (PASSES + len(jpeg.scans)) > MAX_WORK
    if not jpeg.ended and (too_much or not jpeg.begins_all_coefficients):
        raise truncated("jpeg")
    if not too_much and missing(photo, jpeg, decode) > MAX_MISSING:
        raise truncated("jpeg")


def missing(photo: bytes, jpeg: Jpeg, decode: Decoder) -> float:
    """The fraction 0..1 of the last scan that is not in the file."""
    end = data_end(photo, jpeg)
    across, down = unit(jpeg, jpeg.scans[-1])
    lost = 1 - restarted(photo, jpeg, end, -(-jpeg.width // across) * -(-jpeg.height // down))
    if lost > MAX_MISSING:
        return lost
    pixels = jpeg.width * jpeg.height
    reduction = 2 if pixels > LARGE_PIXELS else 1
    plain = decode(photo[:end] + END_MARKER, reduction)
    changed = np.zeros(plain.shape[:2], np.bool_)
    for tail in tails(pixels // PIXELS_PER_TAIL_BYTE + LEAST_TAIL):
        np.logical_or(changed, np.any(decode(photo[:end] + tail + END_MARKER, reduction) != plain, axis=2), out=changed)
    return max(lost, after_first(in_units(changed, across // reduction, down // reduction)))


def data_end(photo: bytes, jpeg: Jpeg) -> int:
    """The end of the last scan's data, without filling and without half of a marker."""
    start = jpeg.scans[-1].start
    data = photo[start : jpeg.end]
    bare = data.rstrip(b"\0")
    if len(data) - len(bare) < FILLED:
        bare = data
    elif bare.endswith(b"\xff"):
        bare += b"\0"
    return start + len(bare.rstrip(b"\xff"))


def unit(jpeg: Jpeg, scan: Scan) -> tuple[int, int]:
    """Width and height in pixels of what a scan codes at a time: an MCU, or a block of its only component."""
    most_across = max(component.across for component in jpeg.components)
    most_down = max(component.down for component in jpeg.components)
    if len(scan.components) > 1 or len(jpeg.components) == 1:
        only = len(jpeg.components) == 1
        return (BLOCK, BLOCK) if only else (BLOCK * most_across, BLOCK * most_down)
    coded = next((c for c in jpeg.components if c.id == scan.components[0]), jpeg.components[0])
    return BLOCK * most_across // coded.across, BLOCK * most_down // coded.down


def restarted(photo: bytes, jpeg: Jpeg, end: int, units: int) -> float:
    """The fraction of a scan of `units` up to the end of the restart interval that the data ends in; 1 without them."""
    if not jpeg.restart_interval:
        return 1.0
    begun = 1 + sum(photo.count(marker, jpeg.scans[-1].start, end) for marker in RESTARTS)
    return min(1.0, begun * jpeg.restart_interval / units)


def tails(size: int) -> tuple[bytes, bytes]:
    """Two continuations that differ in every bit: random bytes, and their complement; neither contains a marker."""
    chance = np.random.default_rng(TAIL_SEED).integers(1, 255, size, np.uint8)
    return chance.tobytes(), (255 - chance).astype(np.uint8).tobytes()


def in_units(changed: NDArray[np.bool_], across: int, down: int) -> NDArray[np.bool_]:
    """A mask [rows, columns] of the units of `across` x `down` pixels that have changed.

    A unit's last row and column do not count: decoders smooth the colours of the next unit into them.
    """
    height, width = changed.shape
    padded = np.pad(changed, ((0, -height % down), (0, -width % across)))
    cells = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    inner = cells[:, :-1] if down > BLOCK else cells
    inner = inner[:, :, :, :-1] if across > BLOCK else inner
    return np.asarray(inner.any(axis=(1, 3)), np.bool_)


def after_first(changed: NDArray[np.bool_]) -> float:
    """The fraction of units from the first changed one on."""
    order = changed.ravel()
    return 1 - int(order.argmax()) / order.size if order.any() else 0.0
