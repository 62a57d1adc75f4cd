"""Local features <-> bytes, as a catalog stores them.

    b"SLF1" | N uint16 | points N x (x, y) uint16, in 1/64 of a pixel | descriptors N x 128 uint8
    b"SLF2" | ... | colours 384 uint8
    b"SLF3" | ... | colours 384 uint8 | printed text, UTF-8 up to the end
Rule: what is read is checked, because a file of another version or a damaged one may lie there. Images without a colour
histogram, which earlier versions stored, have the first form, and those whose text was not read the second one.
"""

import struct
from itertools import accumulate

import numpy as np

from sightline_server.domain.local_features import COLOURS, DESCRIPTOR, LocalFeatures

HEAD = struct.Struct("<4sH")
MAGIC, WITH_COLOURS, WITH_TEXT = b"SLF1", b"SLF2", b"SLF3"
FRACTION = 64
"""Steps of a pixel: points lie within 1,024 pixels."""
MOST_TEXT = 4000
"""Bytes of a text at most."""


def encode(features: LocalFeatures) -> bytes:
    """The bytes of `features`; a text is stored where the colours are known, too."""
    points = np.clip(np.rint(features.points * FRACTION), 0, 65535).astype("<u2")
    parts = [points.tobytes(), features.descriptors.tobytes()]
    magic = MAGIC
    if features.colours is not None:
        magic = WITH_COLOURS
        parts.append(features.colours.tobytes())
        if features.text is not None:
            magic = WITH_TEXT
            parts.append(features.text.encode("utf-8", "replace")[:MOST_TEXT])
    return HEAD.pack(magic, len(features)) + b"".join(parts)


def decode(stored: bytes) -> LocalFeatures | None:
    """The features of `encode`; None for bytes that it did not make."""
    if len(stored) < HEAD.size:
        return None
    magic, count = HEAD.unpack_from(stored)
    further = {MAGIC: 0, WITH_COLOURS: COLOURS, WITH_TEXT: COLOURS}.get(magic)
    if further is None:
        return None
    start, first_descriptor, first_colour, end = accumulate((HEAD.size, 4 * count, DESCRIPTOR * count, further))
    most = MOST_TEXT if magic == WITH_TEXT else 0
    if not end <= len(stored) <= end + most:
        return None
    points = np.frombuffer(stored, "<u2", 2 * count, start).reshape(count, 2)
    descriptors = np.frombuffer(stored, np.uint8, DESCRIPTOR * count, first_descriptor)
    return LocalFeatures(
        points.astype(np.float32) / np.float32(FRACTION),
        descriptors.reshape(count, DESCRIPTOR),
        np.frombuffer(stored, np.uint8, COLOURS, first_colour) if further else None,
        # A text that was cut off may end in a part of a character.
        stored[end:].decode("utf-8", "ignore") if magic == WITH_TEXT else None,
    )
