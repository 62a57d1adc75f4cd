"""EXIF and TIFF directories: the orientation of a photo, and the few tags that distinguish a camera's raw file from a
TIFF.

Rule: only EXIF says how a photo is turned, as in browsers; XMP does not. `sightline_client.annotate` has the same rule,
and a test compares the two. Sources: EXIF 3.0 (CIPA DC-008), section 4.6; TIFF 6.0, section 2.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFIX = b"Exif\0\0"
MAX_BLOCK = 65_533
"""Bytes of an EXIF block that are read: as many as one JPEG segment holds."""
ORIENTATION_TAG = 0x0112
SHORT = 3
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
MAX_ENTRIES = 4096
ENTRY_BYTES = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag of a directory; `value` is its first value where it is stored in the entry itself, else an offset."""

    tag: int
    kind: int
    count: int
    value: int


def orientation(block: bytes | memoryview) -> int:
    """The orientation 1..8 of an EXIF block with or without its `Exif` prefix; 1 when it states none.

    As in browsers, only a single 16-bit number in the first directory counts. Nothing is copied: small copies stay in
    memory that the interpreter keeps, and EXIF may say who took the photo and where.
    """
    view = memoryview(block)[:MAX_BLOCK]
    for entry in entries(view[len(PREFIX) :] if view[: len(PREFIX)] == PREFIX else view):
        if entry.tag == ORIENTATION_TAG:
            valid = entry.kind == SHORT and entry.count == 1 and 1 <= entry.value <= 8
            return entry.value if valid else 1
    return 1


def entries(block: bytes | memoryview) -> Iterator[Entry]:
    """The entries of the first directory of a TIFF structure, as far as `block` holds them; none when it is corrupt."""
    order = BYTE_ORDERS.get(bytes(block[:4]))
    if order is None or len(block) < 8:
        return
    (start,) = struct.unpack_from(order + "I", block, 4)
    if start + 2 > len(block):
        return
    (count,) = struct.unpack_from(order + "H", block, start)
    for place in range(start + 2, start + 2 + min(count, MAX_ENTRIES) * ENTRY_BYTES, ENTRY_BYTES):
        if place + ENTRY_BYTES > len(block):
            return
        tag, kind, values = struct.unpack_from(order + "HHI", block, place)
        (value,) = struct.unpack_from(order + ("H" if kind == SHORT else "I"), block, place + 8)
        yield Entry(tag, kind, values, value)
