"""Local features <-> bytes, as a catalog stores them.

    b"SLF1" | N uint16 | points N x (x, y) uint16, in 1/64 of a pixel | descriptors N x 128 uint8
Rule: what is read is checked, because a file of another version or a damaged one may lie there.
"""

import struct

import numpy as np

from sightline_server.domain.local_features import DESCRIPTOR, LocalFeatures

HEAD = struct.Struct("<4sH")
MAGIC = b"SLF1"
FRACTION = 64
"""Steps of a pixel: points lie within 1,024 pixels."""


def encode(features: LocalFeatures) -> bytes:
    """The bytes of `features`."""
    points = np.clip(np.rint(features.points * FRACTION), 0, 65535).astype("<u2")
    return HEAD.pack(MAGIC, len(features)) + points.tobytes() + features.descriptors.tobytes()


def decode(stored: bytes) -> LocalFeatures | None:
    """The features of `encode`; None for bytes that it did not make."""
    if len(stored) < HEAD.size:
        return None
    magic, count = HEAD.unpack_from(stored)
    if magic != MAGIC or len(stored) != HEAD.size + count * (4 + DESCRIPTOR):
        return None
    points = np.frombuffer(stored, "<u2", 2 * count, HEAD.size).reshape(count, 2)
    descriptors = np.frombuffer(stored, np.uint8, DESCRIPTOR * count, HEAD.size + 4 * count)
    return LocalFeatures(points.astype(np.float32) / np.float32(FRACTION), descriptors.reshape(count, DESCRIPTOR))
