"""The marker walk of JPEG: what it reads, what it refuses, and that hostile files cost it little."""

import contextlib
import struct
import time

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages import jpeg
from tests.support.pictures import encode, exif, gradient, noise, with_scans

PLAIN = encode(gradient(48, 32))


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def with_segments(*segments: bytes) -> bytes:
    return PLAIN[:2] + b"".join(segments) + PLAIN[2:]


def refusal(photo: bytes) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        jpeg.read(photo)
    assert caught.value.kind is ErrorKind.INVALID_IMAGE
    assert caught.value.metadata == {"format": "jpeg"}
    return caught.value


def test_size_components_and_end_are_read() -> None:
    header = jpeg.read(encode(gradient(50, 30), subsampling=2))
    assert (header.width, header.height, header.precision, header.ended) == (50, 30, 8, True)
    assert [(each.across, each.down) for each in header.components] == [(2, 2), (1, 1), (1, 1)]
    assert header.begins_all_coefficients
    assert len(jpeg.read(encode(gradient(), progressive=True)).scans) > 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_first_exif_block_states_the_orientation(orientation: int) -> None:
    photo = encode(gradient(), exif=exif(orientation))
    assert jpeg.read(photo).orientation == orientation
    later = segment(0xE1, exif(3).tobytes())
    start = photo.index(b"\xff\xdb")
    assert jpeg.read(photo[:start] + later + photo[start:]).orientation == orientation


def test_fill_bytes_and_stray_data_between_segments_are_skipped() -> None:
    for stray in (b"\xff\xff\xff", b"stray", b"\xff\x00\x12", b"\xff\x01", b"\xff" * 5000):
        assert jpeg.read(with_segments(stray)).width == 48


def test_a_marker_across_the_border_of_a_search_is_seen() -> None:
    photo = encode(noise(64, 64), progressive=True)
    scans = len(jpeg.read(photo).scans)
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 2, 3, 7, 64):
            patch.setattr(jpeg, "SEARCHED_AT_ONCE", size)
            assert len(jpeg.read(photo).scans) == scans


def test_too_many_segments_or_scans_are_refused() -> None:
    assert jpeg.read(with_segments(*[segment(0xE1, b"Exif\0\0x")] * 900)).width == 48
    assert "segments" in refusal(with_segments(*[segment(0xE1, b"Exif\0\0x")] * 2000)).message
    assert "scans" in refusal(with_scans(jpeg.MAX_SCANS)).message


@pytest.mark.parametrize(
    "photo", [b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", PLAIN[:100], PLAIN[:170], b"\xff\xd8\xff\xda\0\2"]
)
def test_a_photo_without_image_data_is_truncated(photo: bytes) -> None:
    assert "truncated" in refusal(photo).message


HOSTILE = {
    "one-byte EXIF segments": PLAIN[:2] + segment(0xE1, b"Exif\0\0x") * 1_700_000 + PLAIN[2:],
    "escaped bytes in the scan": PLAIN[:-2] + b"\xff\0" * 9_000_000,
    "restart markers in the scan": PLAIN[:-2] + b"\xff\xd0" * 9_000_000,
    "fill bytes in the header": PLAIN[:2] + b"\xff" * 19_000_000 + PLAIN[2:],
    "stray bytes in the header": PLAIN[:2] + b"\xff\0" * 9_000_000 + PLAIN[2:],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_walked_within_a_second(name: str) -> None:
    started = time.process_time()
    with contextlib.suppress(SightlineError):
        jpeg.read(HOSTILE[name])
    assert time.process_time() - started < 1.0


def test_metadata_is_left_out_and_colours_stay() -> None:
    photo = with_segments(segment(0xE1, b"Exif\0\0x"), segment(0xEE, b"Adobe" + bytes(7)), segment(0xFE, b"secret"))
    bare = jpeg.bare(photo)
    assert b"secret" not in bare and b"Exif" not in bare
    assert b"Adobe" in bare and b"JFIF" in bare
    assert bare.endswith(PLAIN[-300:])
