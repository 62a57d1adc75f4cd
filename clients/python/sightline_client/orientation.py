"""The orientation in an EXIF block.

Rule: the same as the server's (`sightline_server.stages.exif`), which is that of browsers: a single 16-bit number in
the first directory counts, and nothing else. A test compares the two. Source: EXIF 3.0 (CIPA DC-008), section 4.6.
"""

import struct

PREFIX = b"Exif\0\0"
MAX_BLOCK = 65_533
"""Bytes of an EXIF block that are read: as many as one JPEG segment holds."""
ORIENTATION_TAG, SHORT, ENTRY_BYTES, MAX_ENTRIES = 0x0112, 3, 12, 4096
BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def exif_orientation(block: bytes) -> int:
    """The orientation 1..8 of an EXIF block with or without its `Exif` prefix; 1 when it states none."""
    block = block[:MAX_BLOCK].removeprefix(PREFIX)
    order = BYTE_ORDERS.get(block[:4])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for place in range(start + 2, start + 2 + min(count, MAX_ENTRIES) * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, values, value, _ = struct.unpack_from(order + "HHIHH", block, place)
            if tag == ORIENTATION_TAG:
                return value if (kind, values) == (SHORT, 1) and 1 <= value <= 8 else 1
    except struct.error:  # the block ends before its directory does
        return 1
    return 1
