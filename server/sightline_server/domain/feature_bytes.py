"""Local features <-> bytes, as a catalog stores them.

    b"SLF1" | N uint16 | points N x (x, y) uint16, in 1/64 of a pixel | descriptors N x 128 uint8
    b"SLF2" | ... | colours 384 uint8
Rule: what is read is checked, because a file of another version or a damaged one may lie there. Images without a colour
histogram, which earlier versions stored, have the first form.
"""

import struct

import numpy as np

from sightline_server.domain.local_features import COLOURS, DESCRIPTOR, LocalFeatures

HEAD = struct.Struct("<4sH")
MAGIC, WITH_COLOURS = b"SLF1", b"SLF2"
FRACTION = 64
"""Steps of a pixel: points lie within 1,024 pixels."""


def encode(features: LocalFeatures) -> bytes:
    """The bytes of `features`."""
    points = np.clip(np.rint(features.points * FRACTION), 0, 65535).astype("<u2")
    magic, colours = (MAGIC, b"") if features.colours is None else (WITH_COLOURS, features.colours.tobytes())
    return HEAD.pack(magic, len(features)) + points.tobytes() + features.descriptors.tobytes() + colours


def decode(stored: bytes) -> LocalFeatures | None:
    """The features of `encode`; None for bytes that it did not make."""
    if len(stored) < HEAD.size:
        return None
    magic, count = HEAD.unpack_from(stored)
    further = {MAGIC: 0, WITH_COLOURS: COLOURS}.get(magic)
    end = HEAD.size + count * (4 + DESCRIPTOR)
    if further is None or len(stored) != end + further:
        return None
    points = np.frombuffer(stored, "<u2", 2 * count, HEAD.size).reshape(count, 2)
    descriptors = np.frombuffer(stored, np.uint8, DESCRIPTOR * count, HEAD.size + 4 * count)
    colours = np.frombuffer(stored, np.uint8, COLOURS, end) if further else None
    return LocalFeatures(
        points.astype(np.float32) / np.float32(FRACTION), descriptors.reshape(count, DESCRIPTOR), colours
    )
