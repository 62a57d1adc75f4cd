"""ICC profiles: colours of wide spaces become sRGB where the models see them, and nothing else changes."""

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from sightline_server.domain.geometry import Box
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.stages.colours import MAX_PROFILE, to_srgb
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.detect import detector_input
from tests.support.pictures import Pixels, encode, gradient
from tests.support.profiles import ADOBE_RGB, D50, DISPLAY_P3, PROPHOTO, SRGB, profile

LIMITS = DecodeLimits(max_bytes=1 << 21, max_pixels=1_000_000, max_edge=512)
EMBEDDER = EmbedderSpec("e", "1", 64, 64, 8)
DETECTOR = DetectorSpec("d", "1", 96, 96, 1, ())
PROFILES = {
    "Display P3": profile(DISPLAY_P3),
    "Adobe RGB": profile(ADOBE_RGB),
    # The name that Android gives its profile.
    "P3 of Android": profile(DISPLAY_P3, name="Display P3 Gamut with sRGB Transfer"),
    "ProPhoto": profile(PROPHOTO, 1.8, D50),
    "large": profile(DISPLAY_P3) + bytes(150_000),
}
FORMS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 98, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}


def wanted(pixels: Pixels, icc: bytes) -> Pixels:
    """The pixels in sRGB, by the colour engine on the whole image."""
    image = Image.fromarray(pixels)
    done = ImageCms.profileToProfile(
        image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    assert done is not None
    return np.asarray(done)


def embedded(photo: bytes) -> Pixels:
    return crop(decode(photo, LIMITS), Box.whole(), EMBEDDER).pixels


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("form", FORMS)
def test_wide_colours_reach_the_models_as_srgb(form: str, name: str) -> None:
    icc = PROFILES[name]
    drawn = gradient(128, 128)
    photo = encode(drawn, form, icc_profile=icc, **FORMS[form])
    plain = embedded(encode(drawn, form, **FORMS[form]))
    seen = embedded(photo).astype(int)
    assert np.abs(seen - wanted(plain, icc)).mean() < 1.0
    assert np.abs(seen - plain).mean() > 2.0
    box = detector_input(decode(photo, LIMITS), DETECTOR)
    assert (
        np.abs(box.pixels.astype(int) - detector_input(decode(encode(drawn, form), LIMITS), DETECTOR).pixels).mean() > 2
    )


def test_the_padding_of_a_letterbox_stays_grey() -> None:
    photo = encode(gradient(128, 32), "PNG", icc_profile=PROFILES["ProPhoto"])
    assert (detector_input(decode(photo, LIMITS), DETECTOR).pixels[0] == 128).all()


def test_the_frame_itself_is_as_stored() -> None:
    photo = encode(gradient(), "PNG", icc_profile=PROFILES["Display P3"])
    assert (decode(photo, LIMITS).pixels == gradient()).all()


@pytest.mark.parametrize(
    "icc",
    [
        profile(SRGB, name="sRGB IEC61966-2.1"),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        profile(DISPLAY_P3, space=b"GRAY"),
        profile(DISPLAY_P3, space=b"CMYK"),
        b"",
        b"no profile" * 40,
        profile(DISPLAY_P3)[:200],
        profile(DISPLAY_P3)[:36] + bytes(448),
        profile(DISPLAY_P3) + bytes(MAX_PROFILE),
    ],
)
def test_other_profiles_change_nothing(icc: bytes) -> None:
    assert to_srgb(icc) is None
    if icc:
        photo = encode(gradient(), "PNG", icc_profile=icc)
        assert decode(photo, LIMITS).to_srgb is None


def test_the_profile_of_most_photos_is_known_without_the_colour_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ImageCms, "buildTransform", fail)
    assert to_srgb(profile(SRGB, name="sRGB IEC61966-2.1")) is None
    assert to_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()) is None
    with pytest.raises(AssertionError):
        to_srgb(PROFILES["P3 of Android"])


def test_a_profile_that_changes_nothing_visible_is_left_out() -> None:
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for name in (b"sRGB", "sRGB".encode("utf-16-be")):
        icc[:] = icc.replace(name, bytes(len(name)))
    assert to_srgb(bytes(icc)) is None


def test_grey_and_transparent_photos_are_converted_on_white() -> None:
    layered = Image.fromarray(gradient(64, 64)).convert("RGBA")
    layered.putalpha(0)
    icc = PROFILES["Display P3"]
    assert (embedded(encode(layered, "PNG", icc_profile=icc)) >= 254).all()
    grey = embedded(encode(Image.fromarray(gradient(64, 64)).convert("L"), "JPEG", icc_profile=icc))
    assert np.ptp(grey.astype(int), axis=2).max() <= 2


def test_any_profile_gives_a_frame() -> None:
    chance = random.Random(3)
    for _ in range(300):
        icc = bytearray(PROFILES["Display P3"])
        for _ in range(chance.choice((1, 4, 30))):
            icc[chance.randrange(len(icc))] = chance.randrange(256)
        convert = to_srgb(bytes(icc[: chance.choice((len(icc), chance.randrange(len(icc))))]))
        if convert is not None:
            assert convert(gradient()).shape == (32, 48, 3)
