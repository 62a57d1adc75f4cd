"""Any bytes become a `Frame` or an error of ours: odd files by name, mutated real files and plain noise by chance."""

import io
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sightline_server.domain.image import Frame
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.decode import DecodeLimits, bounded, decode
from sightline_server.stages.jpeg import MAX_SCANS
from tests.support.pictures import Pixels, encode, exif, gradient, noise, png_header, smooth, tiff_with_tile, with_scans

LIMITS = DecodeLimits(max_bytes=1 << 20, max_pixels=1_000_000, max_edge=512)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# Pillow warns about files that it can still read; they belong neither in a log nor in a test.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def pixels(photo: bytes, limits: DecodeLimits = LIMITS) -> Pixels:
    """The frame's pixels, after a check of everything that a frame promises."""
    frame = decode(photo, limits)
    assert isinstance(frame, Frame)
    found = frame.pixels
    assert found.dtype == np.uint8
    assert found.ndim == 3 and found.shape[2] == 3 and min(found.shape) > 0
    assert found.flags.c_contiguous
    assert max(frame.width, frame.height) <= limits.max_edge
    assert (frame.height, frame.width) == found.shape[:2]
    return found


def refusal(photo: bytes, limits: DecodeLimits = LIMITS) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        decode(photo, limits)
    assert caught.value.field == "photo"
    return caught.value


def reference(photo: bytes) -> Pixels:
    """The result of Pillow alone: upright, transparency on white."""
    with Image.open(io.BytesIO(photo)) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.has_transparency_data:
            layered = upright.convert("RGBA")
            upright = Image.new("RGBA", layered.size, "white")
            upright.alpha_composite(layered)
        return np.asarray(upright.convert("RGB"))


def assert_like(found: Pixels, wanted: Pixels, mean: float) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.astype(float) - wanted.astype(float)).mean() <= mean


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_decodes_to_its_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    photo = encode(gradient(), form, **options)
    assert_like(pixels(photo), gradient(), {"JPEG": 3.0, "GIF": 12.0}.get(form, 0.0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "CMYK", "L"])
def test_every_orientation_equals_pillows(form: str, orientation: int) -> None:
    picture, kind, options = Image.fromarray(gradient()), form, {}
    if form in ("CMYK", "L"):
        picture, kind = picture.convert(form), "JPEG"
    if form == "WEBP":
        options = {"lossless": True}
    photo = encode(picture, kind, exif=exif(orientation), **options)
    wanted = reference(photo)
    assert wanted.shape[:2] == ((48, 32) if orientation > 4 else (32, 48))
    assert_like(pixels(photo), wanted, 1.0 if kind == "JPEG" else 0.0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert_like(pixels(encode(gradient(), exif=exif(orientation))), gradient(), 3.0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(40), b"junk" * 9]
)
def test_damaged_exif_is_no_reason_to_refuse(form: str, block: bytes) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    assert_like(pixels(encode(gradient(), form, exif=block, **options)), gradient(), 3.0)


def test_cmyk_16_bit_palette_and_alpha() -> None:
    picture = Image.fromarray(gradient())
    transparent = picture.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 48).astype(np.uint8), (32, 1))))
    palette = picture.quantize(16)
    files = {
        "cmyk": encode(picture.convert("CMYK")),
        "rgba": encode(transparent, "PNG"),
        "rgba webp": encode(transparent, "WEBP", lossless=True),
        "la": encode(transparent.convert("LA"), "PNG"),
        "palette": encode(palette, "PNG"),
        "palette with transparency": encode(palette, "PNG", transparency=3),
        "palette gif with transparency": encode(palette, "GIF", transparency=3),
        "bilevel": encode(picture.convert("1"), "PNG"),
        "bilevel tiff": encode(picture.convert("1"), "TIFF", compression="group4"),
        "grey": encode(picture.convert("L"), "PNG"),
        "cmyk tiff": encode(picture.convert("CMYK"), "TIFF"),
        "tiff lzw": encode(picture, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encode(picture, "TIFF", compression="jpeg"),
        "progressive": encode(picture, progressive=True),
        "subsampled": encode(picture, subsampling=2, quality=95),
        "interlaced gif": encode(palette, "GIF", interlace=True),
    }
    for name, photo in files.items():
        found, wanted = pixels(photo), reference(photo)
        assert found.shape == wanted.shape, name
        assert np.abs(found.astype(float) - wanted.astype(float)).mean() <= 2.0, name


@pytest.mark.parametrize(
    ("kind", "form"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF"), (np.float32, "TIFF")]
)
def test_grey_of_many_bits_keeps_its_shades(kind: type[np.number[Any]], form: str) -> None:
    ramp: NDArray[Any] = np.tile(np.linspace(0, 65535, 48), (32, 1)).astype(kind)
    found = pixels(encode(Image.fromarray(ramp), form))
    wanted = np.tile(np.linspace(0, 255, 48), (32, 1))
    assert np.abs(found[:, :, 0] - wanted).max() <= 1.0
    assert (found[:, :, 0] == found[:, :, 2]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -5.0, 0.0, 1e38])
def test_floats_that_are_no_shades_still_give_a_frame(value: float) -> None:
    ramp = np.full((8, 8), value, np.float32)
    ramp[0, 0] = 1.0
    assert pixels(encode(Image.fromarray(ramp), "TIFF")).shape == (8, 8, 3)
    assert pixels(encode(Image.fromarray(np.full((8, 8), value, np.float32)), "TIFF")).shape == (8, 8, 3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(form: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    photo = encode(frames[0], form, save_all=True, append_images=frames[1:])
    assert pixels(photo)[5, 10].tolist() == pytest.approx([255, 0, 0], abs=4)


def test_mpo_shows_its_first_picture() -> None:
    photo = encode(
        Image.new("RGB", (20, 10), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (20, 10), "blue")]
    )
    assert pixels(photo)[5, 10].tolist() == pytest.approx([255, 0, 0], abs=4)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (16000, 1), (1, 16000), (513, 511)])
def test_thin_giants_are_bounded(form: str, size: tuple[int, int]) -> None:
    found = pixels(encode(Image.new("RGB", size, (200, 100, 50)), form))
    assert found.reshape(-1, 3).mean(axis=0).tolist() == pytest.approx([200, 100, 50], abs=4)


@pytest.mark.parametrize("size", [(600, 400), (1000, 900), (400, 999)])
def test_a_large_photo_is_reduced_and_stays_itself(size: tuple[int, int]) -> None:
    width, height = size
    for form in ("JPEG", "PNG"):
        found = pixels(encode(gradient(width, height), form))
        # At most the bound, and not far below half of it: small objects must stay visible.
        assert LIMITS.max_edge / 2 <= max(found.shape[:2]) <= LIMITS.max_edge
        assert found.shape[1] / found.shape[0] == pytest.approx(width / height, rel=0.02)
        assert_like(found, gradient(found.shape[1], found.shape[0]), 3.0)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((700, 500), {}),
        ((600, 500), {"subsampling": 0}),
        ((1100, 620), {"progressive": True}),
        ((1030, 1200), {"subsampling": 1}),
        ((2100, 1100), {"restart_marker_rows": 1}),
        ((4100, 2100), {}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_has_the_pixels_of_libjpegs_own_reduction(
    size: tuple[int, int], options: dict[str, Any], mode: str
) -> None:
    # The embeddings of catalogs that are already built depend on every pixel.
    photo = encode(Image.fromarray(smooth(*size)).convert(mode), quality=88, **options)
    with Image.open(io.BytesIO(photo)) as opened:
        opened.draft(None, (LIMITS.max_edge, LIMITS.max_edge))
        wanted = bounded(np.asarray(opened.convert("RGB")), LIMITS.max_edge)
    large = DecodeLimits(LIMITS.max_bytes * 9, LIMITS.max_pixels * 9, LIMITS.max_edge)
    assert (pixels(photo, large) == wanted).all()


def test_no_bytes_and_other_bytes_are_no_photo() -> None:
    assert refusal(b"").kind is ErrorKind.INVALID_IMAGE
    for wrong in (
        b"\0",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
    ):
        assert refusal(wrong).kind is ErrorKind.INVALID_IMAGE


@pytest.mark.parametrize("form", ["ICO", "PPM", "TGA", "PCX", "JPEG2000", "EPS"])
def test_formats_beyond_the_list_are_refused(form: str) -> None:
    assert refusal(encode(Image.fromarray(gradient()), form)).kind is ErrorKind.INVALID_IMAGE


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("form", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_photo_is_refused(form: str, part: float) -> None:
    options = {"progressive": True} if form == "progressive" else {"compression": "tiff_lzw"} if form == "TIFF" else {}
    whole = encode(noise(64, 64), "JPEG" if form == "progressive" else form, **options)
    assert pixels(whole).shape == (64, 64, 3)
    cut = int(len(whole) * part)
    if form == "GIF" and part > 0.98:
        cut -= 64
    assert refusal(whole[:cut]).kind is ErrorKind.INVALID_IMAGE


def test_limits_are_named_and_checked_on_the_header() -> None:
    error = refusal(encode(noise(64, 64), "BMP"), DecodeLimits(max_bytes=1000, max_pixels=1 << 20, max_edge=64))
    assert error.kind is ErrorKind.LIMIT_EXCEEDED
    assert error.metadata == {"limit": "max_photo_bytes", "value": "1000"}
    assert "1000" in error.message
    # Only the header is there: were pixels touched first, this would be a damaged image.
    error = refusal(png_header(60_000, 60_000))
    assert error.kind is ErrorKind.LIMIT_EXCEEDED
    assert error.metadata == {"limit": "max_photo_pixels", "value": "1000000"}


def test_exactly_the_limit_is_allowed() -> None:
    photo = encode(noise(20, 10), "PNG")
    assert pixels(photo, DecodeLimits(len(photo), 200, 512)).shape == (10, 20, 3)
    assert refusal(photo, DecodeLimits(len(photo) - 1, 200, 512)).kind is ErrorKind.LIMIT_EXCEEDED
    assert refusal(photo, DecodeLimits(len(photo), 199, 512)).kind is ErrorKind.LIMIT_EXCEEDED


def test_a_tile_larger_than_its_picture_counts_as_pixels() -> None:
    assert pixels(tiff_with_tile(16, 16, 64, 64)).shape == (16, 16, 3)
    bomb = tiff_with_tile(16, 16, 4096, 4096)
    assert len(bomb) < 40_000
    assert refusal(bomb).kind is ErrorKind.LIMIT_EXCEEDED


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    assert pixels(with_scans(20)).shape == (64, 64, 3)
    assert refusal(with_scans(MAX_SCANS)).kind is ErrorKind.INVALID_IMAGE


def test_what_follows_the_picture_does_not_count_as_scans() -> None:
    # Phones append films to their JPEGs.
    assert pixels(encode(gradient()) + b"\xff\xda\x00\x02" * 500).shape == (32, 48, 3)


def test_messages_hold_nothing_of_the_photo() -> None:
    secret = b"SECRET-OF-THE-PHOTO"
    for photo in (secret, b"\xff\xd8\xff\xe1\x00\x20" + secret, png_header(60_000, 60_000) + secret):
        assert "SECRET" not in str(refusal(photo)) + repr(dict(refusal(photo).metadata))


@given(st.binary(max_size=400))
def test_any_bytes_give_a_frame_or_our_error(photo: bytes) -> None:
    outcome(photo)


SEEDS = [
    encode(gradient(), exif=exif(6)),
    encode(noise(40, 30), progressive=True),
    encode(Image.fromarray(gradient()).convert("CMYK")),
    *(encode(gradient(), form) for form in ("PNG", "WEBP", "GIF", "BMP", "TIFF")),
    encode(Image.fromarray(gradient()).quantize(8), "PNG", transparency=1),
    encode(gradient(), "TIFF", compression="tiff_lzw", exif=exif(3)),
    encode(gradient(), "WEBP", lossless=True, exif=exif(5)),
    encode(Image.new("RGB", (9, 9)), "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")]),
    tiff_with_tile(16, 16, 64, 64),
]


@given(seed=st.sampled_from(SEEDS), chance=st.integers(0, 2**32), cuts=st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_give_a_frame_or_our_error(seed: bytes, chance: int, cuts: bool) -> None:
    outcome(mutated(seed, random.Random(chance), cuts))


def mutated(seed: bytes, chance: random.Random, cuts: bool) -> bytes:
    """`seed` with some bytes changed, most of them near its start, where headers are; perhaps shortened or spliced."""
    photo = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(min(len(photo), chance.choice((64, 256, len(photo)))))
        photo[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    if cuts:
        start, end = sorted(chance.randrange(len(photo)) for _ in range(2))
        photo[start:end] = chance.choice((b"", bytes(photo[: end - start]), bytes(end - start)))
    return bytes(photo)


def outcome(photo: bytes) -> None:
    """Raises whatever is neither a frame that keeps its promises nor an error about the photo."""
    kinds = {ErrorKind.INVALID_IMAGE, ErrorKind.LIMIT_EXCEEDED}
    try:
        pixels(photo)
    except SightlineError as refused:
        if refused.kind not in kinds or refused.field != "photo":
            raise
