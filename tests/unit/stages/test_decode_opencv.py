"""PNG, WebP, GIF and BMP by OpenCV: the pixels are Pillow's for every kind of them, and only the first image counts."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import opencv, png, webp
from sightline_server.stages.decode import DecodeLimits, Prepared, decode, prepare
from tests.support.pictures import Pixels, encode, exif, gradient, noise, png_of, smooth

LIMITS = DecodeLimits(max_bytes=1 << 21, max_pixels=1_000_000, max_edge=2048)
SIZE = (301, 203)
COLOURS = Image.fromarray(smooth(*SIZE))
ALPHA = Image.fromarray(np.tile(np.linspace(0, 255, SIZE[0]).astype(np.uint8), (SIZE[1], 1)))
LAYERED = COLOURS.convert("RGBA")
LAYERED.putalpha(ALPHA)
FEW = COLOURS.quantize(64)
DEEP = smooth(*SIZE).astype(np.uint16) * 257 + 77


def deep(*planes: NDArray[np.uint8 | np.uint16]) -> bytes:
    """A PNG of 16 bits a sample."""
    return bytes(cv2.imencode(".png", np.dstack([plane.astype(np.uint16) for plane in planes]))[1].tobytes())


PNGS = {
    "colour": encode(COLOURS, "PNG"),
    "alpha": encode(LAYERED, "PNG"),
    "grey and alpha": encode(LAYERED.convert("LA"), "PNG"),
    "grey": encode(COLOURS.convert("L"), "PNG"),
    "palette": encode(FEW, "PNG"),
    "palette, one transparent": encode(FEW, "PNG", transparency=3),
    "palette, many alphas": encode(FEW, "PNG", transparency=bytes(range(0, 256, 4))),
    "two shades": encode(COLOURS.convert("1"), "PNG"),
    "two shades, one transparent": encode(COLOURS.convert("1"), "PNG", transparency=0),
    "palette of two": encode(COLOURS.quantize(2), "PNG"),
    "palette of two, one transparent": encode(COLOURS.quantize(2), "PNG", transparency=0),
    "palette of four, one transparent": encode(COLOURS.quantize(4), "PNG", transparency=1),
    "one colour transparent": encode(COLOURS, "PNG", transparency=COLOURS.getpixel((5, 5))),
    "one grey transparent": encode(COLOURS.convert("L"), "PNG", transparency=100),
    "16 bits of grey": encode(Image.fromarray(DEEP[:, :, 0]), "PNG"),
    "16 bits of colour": deep(DEEP[:, :, 2], DEEP[:, :, 1], DEEP[:, :, 0]),
    "16 bits and alpha": deep(*(DEEP[:, :, place] for place in (2, 1, 0)), np.asarray(ALPHA).astype(np.uint16) * 257),
}
WEBPS = {
    "lossy": encode(COLOURS, "WEBP", quality=80),
    "lossless": encode(COLOURS, "WEBP", lossless=True),
    "lossy with alpha": encode(LAYERED, "WEBP", quality=80),
    "lossless with alpha": encode(LAYERED, "WEBP", lossless=True),
    "with metadata": encode(COLOURS, "WEBP", exif=exif(1), icc_profile=bytes(200), xmp=b"<x/>"),
    "animation": encode(COLOURS, "WEBP", save_all=True, append_images=[Image.new("RGB", SIZE, "red")], duration=50),
    "animation with alpha": encode(
        LAYERED, "WEBP", save_all=True, append_images=[Image.new("RGBA", SIZE, (255, 0, 0, 9))], duration=50
    ),
}
OTHERS = {
    "gif": encode(FEW, "GIF"),
    "gif, one transparent": encode(FEW, "GIF", transparency=3),
    "gif, interlaced": encode(FEW, "GIF", interlace=True),
    "gif, animation": encode(FEW, "GIF", save_all=True, append_images=[Image.new("RGB", SIZE, "red")], duration=50),
    "bmp": encode(COLOURS, "BMP"),
    "bmp of grey": encode(COLOURS.convert("L"), "BMP"),
    "bmp of two shades": encode(COLOURS.convert("1"), "BMP"),
    "bmp, palette": encode(FEW, "BMP"),
}


def reference(photo: bytes) -> Pixels:
    """The result of Pillow alone, on white."""
    with Image.open(io.BytesIO(photo)) as opened:
        opened.load()
        image: Image.Image = opened
        if image.mode.startswith("I"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            layered = image.convert("RGBA")
            image = Image.new("RGBA", layered.size, "white")
            image.alpha_composite(layered)
        return np.asarray(image.convert("RGB"))


def pixels(photo: bytes) -> Pixels:
    return decode(photo, LIMITS).pixels


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("name", [*PNGS, *WEBPS, *OTHERS])
def test_every_kind_of_pixels_equals_pillows(name: str) -> None:
    photo = {**PNGS, **WEBPS, **OTHERS}[name]
    found, wanted = pixels(photo), reference(photo)
    assert found.shape == wanted.shape
    assert (found == wanted).all()


@pytest.mark.parametrize("name", [*PNGS, *WEBPS])
@pytest.mark.parametrize("lost", [1, 30, 0.02, 0.5])
def test_every_kind_of_pixels_is_refused_when_it_is_truncated(name: str, lost: float) -> None:
    photo = {**PNGS, **WEBPS}[name]
    cut = photo[: len(photo) - (int(len(photo) * lost) if lost < 1 else 16 + int(lost))]
    if "animation" in name and lost != 0.5:
        return
    with pytest.raises(SightlineError) as caught:
        decode(cut, LIMITS)
    assert caught.value.kind is ErrorKind.INVALID_IMAGE


def test_a_png_without_its_end_chunk_has_all_its_pixels() -> None:
    for photo in PNGS.values():
        assert (pixels(photo[:-12]) == pixels(photo)).all()


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    photo = bytearray(PNGS["colour"])
    photo[len(photo) // 2] ^= 1
    with pytest.raises(SightlineError, match="truncated or corrupt"):
        decode(bytes(photo), LIMITS)


def test_decoders_see_nothing_but_the_first_image() -> None:
    more = chunk(b"tEXt", b"Comment\0secret") + chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(99)))
    photo = PNGS["colour"]
    header = png.read(photo[:33] + more + photo[33:])
    assert header.first_image == photo
    for name, animated in WEBPS.items():
        still = webp.read(animated).first_image
        assert b"EXIF" not in still and b"ICCP" not in still and b"XMP " not in still
        assert still.count(b"ANMF") == ("animation" in name)


def test_an_animated_png_shows_what_readers_without_animation_show() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    photo = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert b"fdAT" in photo
    assert pixels(photo)[5, 10].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_behind_the_pixels_of_a_png_counts(orientation: int) -> None:
    photo = encode(gradient(), "PNG")
    block = exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    behind = photo[:-12] + chunk(b"eXIf", block) + photo[-12:]
    assert (pixels(behind) == pixels(encode(gradient(), "PNG", exif=exif(orientation)))).all()


def test_too_many_chunks_are_refused() -> None:
    photo = PNGS["colour"]
    with pytest.raises(SightlineError, match="chunks"):
        decode(photo[:33] + chunk(b"tEXt", b"") * 40_000 + photo[33:], LIMITS)
    still = WEBPS["lossless"]
    many = b"JUNK\0\0\0\0" * 5000 + still[12:]
    with pytest.raises(SightlineError, match="chunks"):
        decode(b"RIFF" + struct.pack("<I", 4 + len(many)) + b"WEBP" + many, LIMITS)


def prepared(photo: bytes) -> Prepared:
    return prepare(photo, DecodeLimits(max_bytes=1 << 24, max_pixels=64_000_000, max_edge=3072))


@pytest.mark.parametrize(
    ("bits", "colour", "most"), [(8, 2, 25_600_000), (8, 6, 19_200_000), (16, 2, 12_800_000), (16, 6, 9_600_000)]
)
def test_pixels_that_take_more_memory_are_fewer(bits: int, colour: int, most: int) -> None:
    def claimed(pixels: int) -> bytes:
        return png_of(1, 1, bits, colour).replace(struct.pack(">II", 1, 1), struct.pack(">II", 4000, pixels // 4000), 1)

    assert prepared(claimed(most)).weight == 384_000_000
    with pytest.raises(SightlineError, match=f"the limit is {most}") as caught:
        prepared(claimed(most + 4000))
    assert caught.value.kind is ErrorKind.LIMIT_EXCEEDED


def test_an_edge_beyond_16_bits_is_refused() -> None:
    for width, height in ((32_768, 1), (1, 32_768)):
        with pytest.raises(SightlineError, match="an edge of 32768 pixels, the limit is 32767"):
            decode(png_of(width, height, 8, 0), LIMITS)
    assert decode(png_of(32_767, 1, 8, 0), LIMITS).pixels.shape == (1, 2048, 3)


def test_opencv_refuses_what_it_cannot_decode() -> None:
    for photo in (b"", b"nothing", encode(noise(8, 8), "PNG")[:40]):
        with pytest.raises(opencv.NotDecodedError):
            opencv.colour(photo)
        with pytest.raises(opencv.NotDecodedError):
            opencv.jpeg_colour(photo)


JPEGS = {
    "colour": encode(smooth(333, 217), "JPEG"),
    "progressive": encode(smooth(333, 217), "JPEG", progressive=True),
    "grey": encode(smooth(333, 217)[..., 0], "JPEG"),
    "turned": encode(smooth(333, 217), "JPEG", exif=exif(6)),
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_jpeg_decoded_from_a_file_in_memory_has_the_pixels_of_its_bytes(
    name: str, reduction: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photo, before = JPEGS[name], os.listdir("/proc/self/fd")
    flags = cv2.IMREAD_COLOR if reduction == 1 else opencv.REDUCED[reduction]
    decoded = cv2.imdecode(np.frombuffer(photo, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    assert decoded is not None
    from_file = opencv.jpeg_colour(photo, reduction)
    assert from_file.flags.writeable
    assert (from_file == decoded[..., ::-1]).all()
    assert os.listdir("/proc/self/fd") == before

    # Without /proc, and where no such file can be made.
    monkeypatch.setattr(opencv, "DESCRIPTORS", str(tmp_path))
    assert (opencv.jpeg_colour(photo, reduction) == from_file).all()
    monkeypatch.delattr(os, "memfd_create")
    assert (opencv.jpeg_colour(photo, reduction) == from_file).all()


def test_an_interlaced_png_has_its_pixels_and_weighs_more() -> None:
    drawn = np.asarray(smooth(33, 17))
    rows = b""
    for x, y, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)):
        rows += b"".join(b"\0" + row.tobytes() for row in drawn[y::down, x::across])
    rows += b"".join(b"\0" + row.tobytes() for row in drawn[1::2])
    header = struct.pack(">IIBBBBB", 33, 17, 8, 2, 0, 0, 1)
    photo = png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert (pixels(photo) == drawn).all()
    assert prepared(photo).weight == int(22.5 * 33 * 17)
