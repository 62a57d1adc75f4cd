"""The structure of a PNG: size, kind of pixels, orientation, and the chunks that its first image needs.

Rule: linear in the bytes, at most `MAX_CHUNKS` chunks, and nothing is decoded. Decoders get a file without text,
profiles and further frames. Source: W3C PNG, third edition, section 11.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sightline_server.stages import exif
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.refusals import corrupt, invalid

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"
HEADER_BYTES = 13
MAX_CHUNKS = 32_768
"""Chunks of one PNG. Encoders write the pixels in pieces of 8 kB or more: 20 MiB are 2,560."""
NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
GREY, PALETTE = 0, 3
CHANNELS = {GREY: 1, 2: 3, PALETTE: 1, 4: 2, 6: 4}


@dataclass(frozen=True, slots=True)
class Png:
    """The facts in the chunks of a PNG."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    transparency: bytes | None
    """The `tRNS` chunk: alpha of palette entries, or the one colour that is transparent."""
    orientation: int
    first_image: bytes
    """The file with nothing but its first image, and always with an end."""
    profile: bytes
    """The ICC profile; empty without one."""

    @property
    def has_alpha(self) -> bool:
        """True if any pixel may be transparent."""
        return self.colour in (4, 6) or self.transparency is not None

    @property
    def transparent_grey(self) -> int | None:
        """The grey value that is transparent, scaled to the depth of decoded pixels: 8 or 16 bits."""
        if self.colour != GREY or self.transparency is None or len(self.transparency) < 2:
            return None
        most = (1 << self.bits) - 1
        value = int.from_bytes(self.transparency[:2]) & most
        return value if self.bits > 8 else value * 255 // most


def read(photo: bytes) -> Png:
    """The structure of `photo`, which begins with `SIGNATURE`.

    Raises `SightlineError` of kind INVALID_IMAGE when it has no valid header or too many chunks.
    """
    header, transparency, turned, kept, profile = b"", None, 0, [SIGNATURE], b""
    for kind, start, stop in chunks(photo):
        if kind == b"IHDR" and not header:
            header = photo[start + 8 : stop - 4]
        elif kind == b"tRNS":
            transparency = photo[start + 8 : stop - 4][:512]
        elif kind == b"eXIf" and not turned:
            turned = exif.orientation(memoryview(photo)[start + 8 : min(stop - 4, start + 8 + exif.MAX_BLOCK)])
        elif kind == b"iCCP" and not profile:
            profile = unpacked(photo[start + 8 : stop - 4])
        if kind in NEEDED:
            kept.append(photo[start:stop])
    if len(header) != HEADER_BYTES or header[9] not in CHANNELS:
        raise corrupt("png")
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    first_image = b"".join((*kept, END))
    return Png(width, height, bits, colour, bool(interlace), transparency, turned or 1, first_image, profile)


def unpacked(chunk: bytes) -> bytes:
    """The profile of an `iCCP` chunk, cut behind the largest size that is used; empty when it cannot be unpacked."""
    _, _, rest = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], MAX_PROFILE + 1)
    except zlib.error:
        return b""


def chunks(photo: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk up to the end chunk; a chunk that the photo does not hold whole is left out."""
    place = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if place + 12 > len(photo):
            return
        size = int.from_bytes(photo[place : place + 4])
        kind, stop = photo[place + 4 : place + 8], place + 12 + size
        if kind == b"IEND" or stop > len(photo):
            return
        yield kind, place, stop
        place = stop
    raise invalid(f"the photo has more than {MAX_CHUNKS} chunks", "png")
