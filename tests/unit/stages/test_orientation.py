"""The orientation of a photo: by EXIF only, as browsers do, and the same in the server and in the client."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import PngImagePlugin

from sightline_client.annotate import upright
from sightline_client.orientation import exif_orientation
from sightline_server.stages import exif as server_exif
from sightline_server.stages.decode import DecodeLimits, decode
from tests.support.pictures import Pixels, encode, exif, gradient, xmp

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1_000_000, max_edge=512)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "MPO")


def both(photo: bytes) -> Pixels:
    """The upright pixels, of which server and client must think the same."""
    server, client = decode(photo, LIMITS).pixels, np.asarray(upright(photo))
    assert server.shape == client.shape
    assert np.abs(server.astype(float) - client.astype(float)).max() <= 2
    return server


def photo_in(form: str, **options: object) -> bytes:
    lossless = {"lossless": True} if form == "WEBP" else {}
    return encode(gradient(), form, **lossless, **options)


def block(*entries: tuple[int, int, int, int], order: str = "<", prefix: bytes = b"Exif\0\0") -> bytes:
    """An EXIF block of (tag, type, count, value) entries."""
    marks = b"II*\0" if order == "<" else b"MM\0*"
    packed = b"".join(
        struct.pack(order + "HHI", *entry[:3])
        + (struct.pack(order + "HH", entry[3], 0) if entry[1] == 3 else struct.pack(order + "I", entry[3]))
        for entry in entries
    )
    return prefix + marks + struct.pack(order + "IH", 8, len(entries)) + packed + bytes(4)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_photo_in_server_and_client_alike(form: str, orientation: int) -> None:
    shape = both(photo_in(form, exif=exif(orientation))).shape
    assert shape == ((48, 32, 3) if orientation > 4 else (32, 48, 3))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_xmp_turns_nothing(form: str, orientation: int) -> None:
    photo = photo_in(form, xmp=xmp(orientation))
    assert b"tiff:Orientation" in photo
    assert (both(photo) == both(photo_in(form))).all()


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_exif_counts_where_xmp_says_something_else(form: str) -> None:
    photo = photo_in(form, xmp=xmp(3), exif=exif(6))
    assert (both(photo) == both(photo_in(form, exif=exif(6)))).all()


def test_xmp_of_png_and_tiff_turns_nothing() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp(6).decode())
    assert both(encode(gradient(), "PNG", pnginfo=text)).shape == (32, 48, 3)
    assert both(encode(gradient(), "TIFF", tiffinfo={700: xmp(6)})).shape == (32, 48, 3)
    assert both(encode(gradient(), "TIFF", tiffinfo={700: xmp(6)}, compression="tiff_lzw")).shape == (32, 48, 3)


def test_an_exif_text_of_another_program_in_a_png_turns_nothing() -> None:
    text = PngImagePlugin.PngInfo()
    raw = block((0x0112, 3, 1, 6))
    text.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=True)
    assert both(encode(gradient(), "PNG", pnginfo=text)).shape == (32, 48, 3)


STATEMENTS = {
    "as cameras write it": (block((0x010F, 2, 4, 0), (0x0112, 3, 1, 6)), 6),
    "big-endian": (block((0x0112, 3, 1, 8), order=">"), 8),
    "without a prefix": (block((0x0112, 3, 1, 6), prefix=b""), 6),
    "32 bits": (block((0x0112, 4, 1, 6)), 1),
    "two values": (block((0x0112, 3, 2, 6)), 1),
    "out of range": (block((0x0112, 3, 1, 9)), 1),
    "none": (block((0x010F, 2, 4, 0)), 1),
    "first of two": (block((0x0112, 3, 1, 3), (0x0112, 3, 1, 6)), 3),
    "cut in the entry": (block((0x0112, 3, 1, 6))[:24], 1),
    "directory beyond the end": (b"Exif\0\0II*\0\xff\xff\xff\xff", 1),
    "no directory": (b"Exif\0\0II*\0", 1),
    "empty": (b"", 1),
    "zeros": (b"Exif\0\0" + bytes(64), 1),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_only_a_single_short_of_the_first_directory_counts(name: str) -> None:
    raw, wanted = STATEMENTS[name]
    assert server_exif.orientation(raw) == wanted
    assert exif_orientation(raw) == wanted


@given(st.binary(max_size=80), st.sampled_from([b"", *(raw for raw, _ in STATEMENTS.values())]), st.integers(0, 60))
def test_server_and_client_read_any_block_alike(noise: bytes, raw: bytes, place: int) -> None:
    mixed = raw[:place] + noise + raw[place:]
    assert server_exif.orientation(mixed) == exif_orientation(mixed)
    assert 1 <= exif_orientation(mixed) <= 8


def test_a_jpeg_without_its_end_marker_is_drawn_on_too() -> None:
    photo = encode(gradient(), exif=exif(6))
    assert both(photo.removesuffix(b"\xff\xd9")).shape == (48, 32, 3)


def test_the_client_reduces_what_it_draws_on() -> None:
    assert upright(photo_in("JPEG", exif=exif(6)), 24).size == (16, 24)


def test_bytes_that_are_no_image_are_an_error_of_the_client() -> None:
    with pytest.raises(OSError, match="not in a format that Pillow reads"):
        upright(io.BytesIO(b"no image").getvalue())
