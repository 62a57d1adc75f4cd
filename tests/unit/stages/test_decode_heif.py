"""HEIC and AVIF, the formats of phones: decoded in a process where the setting names them, upright and in sRGB."""

import importlib
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from sightline_server.app import checks
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import DecodeSettings, ServerSettings, Settings
from sightline_server.stages import formats
from sightline_server.stages.decode import Isolated, decode, prepare, prepare_here
from sightline_server.stages.formats import check_decoders, with_usual
from tests.support.isolation import LIMITS, isolation
from tests.support.pictures import Pixels, encode, exif, gradient, noise
from tests.support.profiles import DISPLAY_P3, SRGB, profile

pillow_heif.register_heif_opener()
ALLOWED = replace(LIMITS, formats=("jpeg", "heic", "avif"))
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "heic": ("HEIF", {"quality": 95, "chroma": 444}),
    "avif": ("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
}
LOSS = 12
"""Levels of 255 by which a pixel of a gradient may differ after lossy compression."""


def made(form: str, picture: Pixels | Image.Image, **options: Any) -> bytes:
    """The image as a file of the format."""
    name, usual = FORMS[form]
    return encode(picture, name, **usual, **options)


def near(pixels: Pixels, wanted: Pixels) -> bool:
    return pixels.shape == wanted.shape and bool(np.abs(pixels.astype(int) - wanted.astype(int)).max() <= LOSS)


def refusal(photo: bytes, limits: Any = ALLOWED) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        decode(photo, limits)
    return caught.value


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """The pixels as EXIF `orientation` says that they are to be shown, by Pillow."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = Image.fromarray(pixels)
    return np.asarray(image.transpose(turns[orientation]) if orientation in turns else image)


@pytest.mark.parametrize("form", FORMS)
async def test_a_photo_is_decoded_in_a_process(form: str) -> None:
    photo = made(form, gradient())
    assert prepare_here(photo, ALLOWED) == Isolated(form)
    async with isolation() as here:
        frame = await here.decode(photo, ALLOWED)
    assert near(frame.pixels, gradient())
    assert np.array_equal(frame.pixels, decode(photo, ALLOWED).pixels)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_container_turns_a_photo_once(form: str, orientation: int) -> None:
    photo = made(form, gradient(), exif=exif(orientation).tobytes())
    assert (b"irot" in photo or b"imir" in photo) == (orientation > 1)
    assert near(decode(photo, ALLOWED).pixels, upright(gradient(), orientation))


@pytest.mark.parametrize("form", FORMS)
def test_exif_alone_turns_nothing(form: str) -> None:
    photo = bytearray(made(form, gradient(), exif=exif(6).tobytes()))
    place = photo.index(b"irot") + 4
    assert photo[place] != 0
    photo[place] = 0
    assert near(decode(bytes(photo), ALLOWED).pixels, gradient())


@pytest.mark.parametrize("form", FORMS)
def test_a_profile_becomes_srgb_as_in_other_formats(form: str) -> None:
    # In the middle of the range a small loss stays small.
    picture = np.full((32, 48, 3), (90, 140, 120), np.uint8)
    wide = decode(made(form, picture, icc_profile=profile(DISPLAY_P3)), ALLOWED)
    usual = decode(encode(picture, "PNG", icc_profile=profile(DISPLAY_P3)), LIMITS)
    assert near(wide.pixels, picture)
    assert near(wide.in_srgb(wide.pixels), usual.in_srgb(usual.pixels))
    assert not near(wide.in_srgb(wide.pixels), wide.pixels)
    assert decode(made(form, gradient(), icc_profile=profile(SRGB, name="sRGB")), ALLOWED).to_srgb is None


@pytest.mark.parametrize("form", FORMS)
async def test_a_profile_comes_back_from_the_process(form: str) -> None:
    async with isolation() as here:
        frame = await here.decode(made(form, gradient(), icc_profile=profile(DISPLAY_P3)), ALLOWED)
        assert not near(frame.in_srgb(frame.pixels), gradient())
        plain = await here.decode(made(form, gradient()), ALLOWED)
        assert plain.to_srgb is None
        tiff = await here.decode(encode(gradient(), "TIFF", icc_profile=profile(DISPLAY_P3)))
        assert tiff.to_srgb is not None


@pytest.mark.parametrize("form", FORMS)
def test_transparency_becomes_white(form: str) -> None:
    layer = np.dstack([np.full((16, 16, 3), 40, np.uint8), np.zeros((16, 16), np.uint8)])
    assert decode(made(form, Image.fromarray(layer)), ALLOWED).pixels.min() >= 255 - LOSS


@pytest.mark.parametrize("form", FORMS)
def test_grey_and_large_photos_are_taken(form: str) -> None:
    grey = decode(made(form, Image.new("L", (30, 20), 90)), ALLOWED).pixels
    assert grey.shape == (20, 30, 3) and near(grey, np.full((20, 30, 3), 90, np.uint8))
    assert decode(made(form, noise(300, 200)), replace(ALLOWED, max_edge=100)).pixels.shape == (67, 100, 3)


@pytest.mark.parametrize("form", FORMS)
def test_a_photo_beyond_the_limits_is_refused_by_its_header(form: str) -> None:
    photo = made(form, noise(64, 48))
    error = refusal(photo, replace(ALLOWED, max_pixels=64 * 48 - 1))
    assert (error.kind, error.message) == (ErrorKind.LIMIT_EXCEEDED, "the photo has 3072 pixels, the limit is 3071")
    assert refusal(photo, replace(ALLOWED, max_bytes=len(photo) - 1)).kind is ErrorKind.LIMIT_EXCEEDED
    place = photo.index(b"ispe") + 8
    huge = photo[:place] + struct.pack(">II", 30_000, 30_000) + photo[place + 8 :]
    assert refusal(huge).kind in (ErrorKind.LIMIT_EXCEEDED, ErrorKind.INVALID_IMAGE)


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_photo_is_refused(form: str) -> None:
    photo = made(form, noise(64, 48))
    for damaged in (photo[: len(photo) // 2], photo[:40], photo.replace(b"iloc", b"free"), photo[:40] + bytes(4000)):
        error = refusal(damaged)
        assert (error.kind, dict(error.metadata)) == (ErrorKind.INVALID_IMAGE, {"format": form})


@pytest.mark.parametrize("form", FORMS)
def test_memory_weight_depends_on_transparency(form: str) -> None:
    area = 300 * 200
    assert prepare(made(form, noise(300, 200)), ALLOWED).weight == 12 * area
    assert prepare(made(form, Image.new("RGBA", (300, 200), (1, 2, 3, 4))), ALLOWED).weight == 20 * area


@pytest.mark.parametrize("form", FORMS)
def test_the_refusal_names_the_setting(form: str) -> None:
    error = refusal(made(form, gradient()), replace(LIMITS, formats=("jpeg", "png", "webp")))
    assert (error.kind, dict(error.metadata)) == (ErrorKind.INVALID_IMAGE, {"format": form})
    assert error.message == (
        f"the photo is {form.upper()}; supported are JPEG, PNG and WebP; convert it in the app "
        f"(or allow {form} in the server's decode.formats)"
    )


def test_catalogs_take_the_usual_formats_and_those_of_callers() -> None:
    usual = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
    assert with_usual(("jpeg",)) == usual
    assert with_usual(("heic", "png")) == (*usual, "heic")
    assert LIMITS.formats == usual


@pytest.mark.parametrize(("form", "package"), [("heic", "pillow-heif"), ("avif", "Pillow with AVIF")])
def test_a_missing_package_is_named_at_the_start(form: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_decoders(("jpeg", "heic", "avif"))
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    check_decoders(("jpeg", "tiff"))
    with pytest.raises(SightlineError) as caught:
        check_decoders(("jpeg", form))
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert f"decode.formats has {form}, which needs {package}: " in caught.value.message


@pytest.mark.parametrize("room", ["sightline_server.app.serving", "sightline_server.workers.serving"])
async def test_a_server_does_not_start_without_the_package(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    module = importlib.import_module(room)
    monkeypatch.setattr(checks, "check_folders", lambda settings: {"default": Path()})
    free = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
    settings = Settings(server=ServerSettings.model_validate(free), decode=DecodeSettings(formats=("heic",)))
    start = module.serving if room.startswith("sightline_server.app") else module.serving_with_workers
    with pytest.raises(SightlineError) as caught:
        async with start(settings):
            raise AssertionError("it started")
    assert (caught.value.kind, "pillow-heif" in caught.value.message) == (ErrorKind.CONFIGURATION, True)
