"""The structure of a WebP: size, transparency, orientation, and the chunks that its first image needs.

Rule: linear in the bytes, at most `MAX_CHUNKS` chunks, and nothing is decoded. Decoders get a file without metadata
and further frames. Source: RFC 9649, section 2.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sightline_server.stages import exif
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.refusals import corrupt, invalid, truncated

MAX_CHUNKS = 4096
STILL = (b"VP8 ", b"VP8L")
ALPHA_FLAG, ANIMATION_FLAG = 0x10, 0x02
FRAME_HEADER = 16


@dataclass(frozen=True, slots=True)
class WebP:
    """The facts in the chunks of a WebP."""

    width: int
    height: int
    has_alpha: bool
    lossless: bool
    orientation: int
    first_image: bytes
    """The file with nothing but its first image."""
    profile: bytes
    """The ICC profile; empty without one."""


def read(photo: bytes) -> WebP:
    """The structure of `photo`, which begins with a RIFF header of WebP.

    Raises `SightlineError` of kind INVALID_IMAGE when it has no image, is truncated or has too many chunks.
    """
    extended, turned, kept, image, profile = b"", 0, list[bytes](), b"", b""
    for kind, start, stop in chunks(photo):
        if kind == b"VP8X" and not kept:
            extended = photo[start + 8 : stop]
        elif kind == b"EXIF" and extended and not turned:
            turned = exif.orientation(memoryview(photo)[start + 8 : min(stop, start + 8 + exif.MAX_BLOCK)])
        elif kind == b"ICCP" and extended and not profile:
            profile = photo[start + 8 : min(stop, start + 9 + MAX_PROFILE)]
        elif kind in (*STILL, b"ANMF") and not image:
            image = photo[start:stop]
        if kind in (b"ANIM", b"ALPH") and not image:
            kept.append(photo[start:stop])
    if not image:
        raise corrupt("webp")
    if len(extended) >= 10:
        flags = extended[0] & (ALPHA_FLAG | ANIMATION_FLAG)
        header = b"VP8X" + struct.pack("<I", 10) + bytes((flags,)) + extended[1:10]
        width, height = (1 + int.from_bytes(extended[place : place + 3], "little") for place in (4, 7))
        body, alpha = b"".join((header, *kept, image)), bool(flags & ALPHA_FLAG)
    else:
        (width, height, alpha), body = still_size(image), image
    lossless = b"VP8L" in image[: 8 + FRAME_HEADER + 8]
    riff = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    return WebP(width, height, alpha, lossless, turned or 1, riff, profile)


def still_size(image: bytes) -> tuple[int, int, bool]:
    """Width, height and transparency of a `VP8 ` or `VP8L` chunk."""
    if image.startswith(b"VP8L") and len(image) >= 13:
        bits = int.from_bytes(image[9:13], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    if image.startswith(b"VP8 ") and len(image) >= 18:
        width, height = struct.unpack_from("<HH", image, 14)
        return width & 0x3FFF, height & 0x3FFF, False
    raise corrupt("webp")


def chunks(photo: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and padded end of each chunk.

    Raises `SightlineError` of kind INVALID_IMAGE when the file is shorter than it states, or has too many.
    """
    end = 8 + int.from_bytes(photo[4:8], "little")
    if end > len(photo) + 1:
        raise truncated("webp")
    place = 12
    for _ in range(MAX_CHUNKS):
        if place + 8 > min(end, len(photo)):
            return
        size = int.from_bytes(photo[place + 4 : place + 8], "little")
        yield photo[place : place + 4], place, min(place + 8 + size + size % 2, len(photo))
        place += 8 + size + size % 2
    raise invalid(f"the photo has more than {MAX_CHUNKS} chunks", "webp")
