"""Photos that harm: of few bytes that would cost seconds and a gigabyte, and of facts that libraries print into logs.

Rule: each is made by code, and only when it is asked for, because some take seconds to make.
"""

import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.support.pictures import bmp_of_runs, encode, noise, png_of, tiff_with_tags, with_scans


def claimed(photo: bytes, before: bytes, after: bytes) -> bytes:
    """The photo with another size in its header."""
    assert photo.count(before) >= 1
    return photo.replace(before, after, 1)


def exif_segments(count: int) -> bytes:
    plain = encode(Image.new("RGB", (64, 64)))
    return plain[:2] + (b"\xff\xe1" + struct.pack(">H", 9) + b"Exif\0\0x") * count + plain[2:]


def empty_scans(scans: int) -> bytes:
    """A progressive JPEG of 64 megapixels whose scans hold one byte each."""
    plain = with_scans(scans)
    frame = plain.index(b"\xff\xc2") + 5
    return plain[:frame] + struct.pack(">HH", 8000, 8000) + plain[frame + 4 :]


def webp_of_noise(mode: str, width: int, height: int) -> bytes:
    """Noise of the lowest quality, which takes most time a byte."""
    tile = np.random.default_rng(0).integers(0, 256, (1000, 1000, len(mode)), np.uint8)
    pixels = np.tile(tile, (height // 1000 + 1, width // 1000 + 1, 1))[:height, :width]
    return encode(Image.fromarray(np.ascontiguousarray(pixels)), "WEBP", quality=1, method=0)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "bmp in runs, wide": lambda: bmp_of_runs(63_000_000, 1, 1),
    "bmp in runs, square": lambda: bmp_of_runs(8000, 8000, 8000),
    "png of one bit and transparency": lambda: png_of(5000, 3800, 1, 3, (b"PLTE", bytes(6)), (b"tRNS", b"\0")),
    "png of colour": lambda: png_of(6400, 4000, 8, 2),
    "png of 16 bits and alpha": lambda: png_of(3200, 3000, 16, 6),
    "png beyond its limit": lambda: png_of(8000, 8000, 1, 3, (b"PLTE", bytes(6)), (b"tRNS", b"\0")),
    "webp of one colour": lambda: encode(Image.new("RGBA", (8000, 8000), (1, 2, 3, 4)), "WEBP", lossless=True),
    "webp of one opaque colour": lambda: encode(Image.new("RGB", (3600, 3800), (1, 2, 3)), "WEBP", lossless=True),
    "webp of transparent noise": lambda: webp_of_noise("RGBA", 3600, 3800),
    "webp of noise": lambda: webp_of_noise("RGB", 4300, 4400),
    "webp beyond its limit": lambda: encode(Image.new("RGB", (8000, 8000)), "WEBP"),
    "jpeg of 380,000 segments": lambda: exif_segments(380_000),
    "jpeg of 1,700,000 segments": lambda: exif_segments(1_700_000),
    "jpeg of 80 empty scans": lambda: empty_scans(80),
    "jpeg of few empty scans": lambda: empty_scans(5),
    "jpeg of CMYK": lambda: encode(Image.new("CMYK", (4400, 3300), (99, 140, 180, 20))),
    "gif of 64 megapixels": lambda: claimed(
        encode(Image.new("P", (8, 8)), "GIF"), b"\x08\0\x08\0", struct.pack("<HH", 8000, 8000)
    ),
}
"""Each must cost little."""


def corrupt_png() -> bytes:
    """A PNG of which one chunk has another checksum than it says."""
    photo = encode(noise(64, 64), "PNG")
    return photo[:3000] + b"?" + photo[3001:]


NOISY: dict[str, Callable[[], bytes]] = {
    "tiff of 2,000 odd tags": lambda: tiff_with_tags(2000),
    "jpeg that is corrupt": lambda: encode(noise(64, 64))[:-400] + bytes(400) + b"\xff\xd9",
    "jpeg with stray bytes": lambda: encode(noise(64, 64))[:-2] + b"stray bytes" * 9 + b"\xff\xd9",
    "png that is cut off": lambda: encode(noise(64, 64), "PNG")[:3000],
    "png with a wrong checksum": corrupt_png,
}
"""Libraries print about each of them."""
