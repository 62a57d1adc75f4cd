"""JPEGs that end early: taken when all but a hundredth of the image is there, else refused as truncated."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import cut_jpeg, jpeg
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.pillow import jpeg_colour
from tests.support.pictures import Pixels, encode, exif, gradient, noise, smooth

LIMITS = DecodeLimits(max_bytes=1 << 22, max_pixels=8_000_000, max_edge=2048)
END = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "own tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by 5 MCUs": {"restart_marker_blocks": 5},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "progressive 4:4:4": {"subsampling": 0, "progressive": True},
    "grey": {},
    "grey progressive": {"progressive": True},
    "CMYK": {},
    "low quality": {"quality": 10},
}


def photo_of(kind: str, width: int = 640, height: int = 480) -> bytes:
    """A JPEG of `kind` with its end marker."""
    image = Image.fromarray(smooth(width, height))
    mode = "L" if kind.startswith("grey") else "CMYK" if kind == "CMYK" else "RGB"
    return encode(image.convert(mode), **{"quality": 85, **KINDS[kind]})


def pixels(photo: bytes) -> Pixels:
    return decode(photo, LIMITS).pixels


def assert_truncated(photo: bytes) -> None:
    with pytest.raises(SightlineError, match="the photo is truncated") as caught:
        decode(photo, LIMITS)
    assert caught.value.kind is ErrorKind.INVALID_IMAGE
    assert caught.value.field == "photo"
    assert caught.value.metadata == {"format": "jpeg"}


def missing(photo: bytes) -> float:
    return cut_jpeg.missing(photo, jpeg.read(photo), jpeg_colour)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [b"", b"\xff", bytes(64), bytes(1), b"\xff" * 64, b"hello, world" * 9, b"\xff\xe1"])
def test_a_photo_without_its_end_marker_has_all_its_pixels(kind: str, ending: bytes) -> None:
    whole = photo_of(kind, 96, 96)
    assert (pixels(whole.removesuffix(END) + ending) == pixels(whole)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_that_lacks_less_than_a_hundredth_keeps_what_is_there(kind: str) -> None:
    whole = photo_of(kind)
    cut = whole[: len(whole) - len(whole) // 800]
    assert 0 < missing(cut) < 0.01
    kept = pixels(cut)
    assert kept.shape == (480, 640, 3)
    assert np.mean(np.any(kept != pixels(whole), axis=2)) < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.97, 0.9, 0.5, 0.1])
def test_a_photo_that_lacks_more_is_truncated_however_it_ends(kind: str, part: float) -> None:
    whole = photo_of(kind)
    cut = whole[: int(len(whole) * part)]
    for ending in (b"", bytes(len(whole) - len(cut)), b"\xff" * 999, b"junk" * 99):
        assert_truncated(cut + ending)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "progressive" not in kind])
def test_an_end_marker_behind_half_of_the_data_hides_nothing(kind: str) -> None:
    whole = photo_of(kind)
    assert_truncated(whole[: len(whole) // 2] + END)


def test_a_progressive_photo_is_whole_only_with_the_last_bit_of_every_coefficient() -> None:
    whole = encode(smooth(640, 480), progressive=True, quality=85)
    starts = [scan.start for scan in jpeg.read(whole).scans]
    assert len(starts) > 5
    for start in starts[1:]:
        # All pixels are there, but coarse: nothing of the next scan, and half of it.
        assert_truncated(whole[: start - 14])
        assert_truncated(whole[: start + 40])


@pytest.mark.parametrize("height", [3000, 16, 8, 1])
def test_thin_photos_are_measured_too(height: int) -> None:
    whole = encode(smooth(640, height))
    assert (pixels(whole[:-2]) == pixels(whole)).all()
    assert_truncated(whole[: len(whole) * 7 // 8])


def test_the_share_that_is_missing_grows_with_the_cut() -> None:
    for kind in KINDS:
        whole = photo_of(kind)
        shares = [missing(whole[: len(whole) - cut]) for cut in (2, 400, 2000, 6000)]
        assert shares[0] == 0
        assert shares == sorted(shares)
        assert shares[-1] > 0.02


def test_a_large_photo_is_measured_at_half_its_edges() -> None:
    whole = encode(smooth(2600, 1800))
    assert (pixels(whole[:-2]) == pixels(whole)).all()
    assert_truncated(whole[: len(whole) * 97 // 100])


def plain_grey() -> Iterable[bytes]:
    for value in (0, 64, 127, 128, 129, 255):
        image = Image.new("RGB", (200, 100), (value, value, value))
        yield from (encode(image), encode(image, progressive=True), encode(image.convert("L")))
        yield encode(image.convert("CMYK"))


def test_a_grey_photo_is_not_blank() -> None:
    for whole in plain_grey():
        assert pixels(whole).shape == (100, 200, 3)
        assert pixels(whole[:-2]).shape == (100, 200, 3)


def test_a_thumbnails_end_marker_is_not_the_photos() -> None:
    block = exif(1)
    thumbnail = b"Exif\0\0" + block.tobytes().removeprefix(b"Exif\0\0") + encode(noise(40, 30))
    whole = encode(smooth(320, 240), exif=thumbnail)
    assert (pixels(whole[:-2]) == pixels(whole)).all()
    assert_truncated(whole[: len(whole) // 2])


def test_what_follows_the_end_marker_does_not_count() -> None:
    whole = encode(smooth(320, 240))
    for more in (b"\0" * 999, b"ftypmp42 a film", whole, whole[: len(whole) // 2], b"\xff\xda\x00\x02" * 500):
        assert (pixels(whole + more) == pixels(whole)).all()


def test_a_multi_image_file_cut_in_its_second_image_keeps_its_first() -> None:
    first, second = Image.fromarray(smooth(320, 240)), Image.fromarray(gradient(320, 240))
    whole = encode(first, "MPO", save_all=True, append_images=[second])
    assert (pixels(whole[:-400]) == pixels(whole)).all()
    assert_truncated(whole[: len(encode(first)) // 2])


def test_no_warning_of_a_decoder_reaches_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(smooth(640, 480))
    pixels(whole[:-2])
    assert_truncated(whole[: len(whole) // 2])
    assert capfd.readouterr().err == ""


def test_a_photo_too_large_to_compare_must_have_its_end_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(smooth(320, 240))
    monkeypatch.setattr(cut_jpeg, "MAX_WORK", 320 * 240 * (cut_jpeg.PASSES + 1))
    assert (pixels(whole[:-2]) == pixels(whole)).all()
    monkeypatch.setattr(cut_jpeg, "MAX_WORK", 320 * 240 * (cut_jpeg.PASSES + 1) - 1)
    assert_truncated(whole[:-2])
    assert pixels(whole).shape == (240, 320, 3)
