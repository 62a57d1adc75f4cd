"""Images that tests draw: smooth enough to survive JPEG, different in every corner, so that a wrong turn shows."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def gradient(width: int = 48, height: int = 32) -> Pixels:
    """uint8 [H,W,3]: red grows to the right, green downwards, blue is bright in the upper left."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = 255.0 - (x + y) / 2
    return np.stack([x, y, blue], axis=-1).astype(np.uint8)


def noise(width: int, height: int, seed: int = 0) -> Pixels:
    """uint8 [H,W,3] of chance."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def blocks(seed: int) -> Pixels:
    """uint8 [240,240,3] of many corners, as print has them."""
    return np.kron(noise(24, 24, seed), np.ones((10, 10, 1), np.uint8))


def encode(picture: Pixels | Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The image as a file of the format."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    encoded = io.BytesIO()
    image.save(encoded, form, **options)
    return encoded.getvalue()


def exif(orientation: int, **more: Any) -> Image.Exif:
    """An EXIF block with an orientation and GPS coordinates."""
    block = Image.Exif()
    block[0x0112] = orientation
    gps = block.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (59.0, 19.0, 46.321), "E", (18.02713, 4.33719, 7.12538)
    block[0x010E] = more.get("description", "a test")
    return block


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is `width` x `height`, with a pixel's worth of data: a decompression bomb's header."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def tiff_with_tile(width: int, height: int, tile_width: int, tile_height: int) -> bytes:
    """A grey TIFF of one deflated tile of zeros, which may be far larger than the image."""
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(tile_width)) for _ in range(tile_height)]
    data = b"".join([*rows, packer.flush()])
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, tile_width), (323, 4, tile_height), (324, 4, 0), (325, 4, len(data))]
    start = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        shown = start if tag == 324 else value
        directory += struct.pack("<HHI", tag, kind, 1) + struct.pack(
            "<I" if kind == 4 else "<HH", *((shown,) if kind == 4 else (shown, 0))
        )
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + data


def with_scans(extra: int, width: int = 64, height: int = 64) -> bytes:
    """A progressive JPEG with `extra` scans more than it needs."""
    plain = encode(gradient(width, height), progressive=True)
    first = plain.index(b"\xff\xda", plain.index(b"\xff\xda") + 2)
    end = min(place for marker in (b"\xff\xda", b"\xff\xc4") if (place := plain.find(marker, first + 2)) > 0)
    return plain[:end] + plain[first:end] * extra + plain[end:]


def smooth(width: int, height: int, seed: int = 0) -> Pixels:
    """uint8 [H,W,3]: blurred chance of several scales, so that a JPEG spends about as many bits on every part."""
    chance = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(noise(max(2, width // step), max(2, height // step), int(chance.integers(99)))).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for step in (2, 8, 32)
    ]
    return np.asarray(sum(layers) / len(layers), np.uint8)


def xmp(orientation: int) -> bytes:
    """An XMP packet that states an orientation, as an editor leaves it behind in a photo that it turned."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
    ) % orientation


def png_of(width: int, height: int, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of zeros in any kind of pixels, with more `chunks` before the pixels; large ones are a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes((width * channels * bits + 7) // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    middle = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bmp_of_runs(width: int, height: int, rows: int) -> bytes:
    """A BMP in runs of which every row is one pixel and the end of the row, so that almost no bytes are many pixels."""
    data = b"\x01\x00\x00\x00" * rows
    palette = b"".join(bytes((shade, shade, shade, 0)) for shade in range(256))
    start = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + palette + data


def tiff_with_tags(count: int) -> bytes:
    """A small grey TIFF with `count` private tags that reach beyond its end, about which libraries warn."""
    strip = zlib.compress(bytes(64))
    tags = [(256, 3, 8), (257, 3, 8), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 3, 8)]
    tags += [(279, 4, len(strip)), *((1000 + place, 1, -1) for place in range(count))]
    start = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in sorted(tags):
        if kind == 3:
            directory += struct.pack("<HHIHH", tag, kind, 1, value, 0)
        else:
            place = start + 8 if tag == 273 else start + 6 + len(strip) if value < 0 else value
            directory += struct.pack("<HHII", tag, kind, 5 if value < 0 else 1, place)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + b"12345678" + strip


def tiff_of_tiny_tiles(edge: int) -> bytes:
    """A TIFF of `edge` x `edge` tiles of one pixel, two bytes each; Pillow takes 14 us of CPU for every tile."""
    tiles = edge * edge
    tags = [(256, 4, 1, edge), (257, 4, 1, edge), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    tags += [(322, 4, 1, 1), (323, 4, 1, 1), (324, 3, tiles, 8 + 2 + 12 * 9 + 4)]
    entries = b"".join(
        struct.pack("<HHI", tag, kind, count) + struct.pack("<I" if kind == 4 or count > 1 else "<HH", *value)
        for tag, kind, count, number in tags
        for value in [(number,) if kind == 4 or count > 1 else (number, 0)]
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + b"\x08\0" * tiles
