"""Codes in drawn photos: read at several sizes and angles, with the box of each, and nothing where there is none."""

import numpy as np
import pytest
from PIL import Image

from load_tests.codes.rendering import CodeShot, camera, place, scene
from load_tests.codes.shots import shots
from sightline_server.domain.codes import PhotoCode
from sightline_server.domain.geometry import Point
from sightline_server.domain.image import Frame
from sightline_server.settings import CodeSettings
from sightline_server.stages.codes.content import gtin_in
from sightline_server.stages.codes.reading import read_codes
from tests.support.pictures import gradient, noise

PIXELS = CodeSettings().max_pixels
GTIN = 4006381333931
SMALL = (800, 600)


def frame(*drawn: CodeShot, size: tuple[int, int] = SMALL) -> Frame:
    pixels = scene(*size, seed=3)
    for shot in drawn:
        pixels = place(pixels, shot)
    return Frame(camera(pixels, 3))


def codes(*drawn: CodeShot, size: tuple[int, int] = SMALL) -> tuple[PhotoCode, ...]:
    return read_codes(frame(*drawn, size=size), PIXELS)


@pytest.mark.parametrize(
    ("format", "text", "gtin"),
    [
        ("EAN-13", "4006381333931", GTIN),
        ("EAN-13", "9783161484100", 9783161484100),
        ("UPC-A", "036000291452", 36000291452),
        ("EAN-8", "96385074", 96385074),
        ("ITF-14", "10614141000415", 10614141000415),
        ("QR", "https://id.gs1.org/01/04006381333931/10/LOT", GTIN),
        ("QR", "(01)04006381333931(17)271231", GTIN),
        ("QR", "4006381333931", GTIN),
    ],
)
@pytest.mark.parametrize("angle", [0, 33, 90, 225])
def test_a_code_is_read_at_each_angle(format: str, text: str, gtin: int, angle: float) -> None:
    found = codes(CodeShot(format, text, 3.0, angle))
    assert {code.gtin for code in found} == {gtin}
    assert all(code.box.covers(Point(0.5, 0.5)) or abs(code.box.centre.x - 0.5) < 0.1 for code in found)


def test_several_codes_are_read_each_at_its_place() -> None:
    found = codes(
        CodeShot("EAN-13", "4006381333931", 2.5, 50, 0.25, 0.3),
        CodeShot("QR", "https://shop.example/01/00036000291452", 3, 20, 0.75, 0.7),
    )
    assert {code.gtin for code in found} == {GTIN, 36000291452}
    for code in found:
        right = code.gtin != GTIN
        assert (code.box.centre.x > 0.5, code.box.centre.y > 0.5) == (right, right)


def test_nearly_all_of_the_drawn_photos_are_read_and_none_wrongly() -> None:
    drawn = list(shots(9))
    found = [{code.gtin for code in codes(shot, size=(1000, 750))} for shot, _ in drawn]
    assert sum(gtin in each for each, (_, gtin) in zip(found, drawn, strict=True)) >= 8
    assert all(each <= {gtin} for each, (_, gtin) in zip(found, drawn, strict=True))


def test_a_large_frame_is_reduced_and_read() -> None:
    small = frame(CodeShot("EAN-13", "4006381333931", 3, 33))
    large = Frame(np.asarray(Image.fromarray(small.pixels).resize((3200, 2400), Image.Resampling.BICUBIC)))
    (code,) = {each.gtin: each for each in read_codes(large, PIXELS)}.values()
    assert code.gtin == GTIN
    assert code.box.covers(Point(0.5, 0.5))


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN:VCARD\nN:Doe;John\nADR:1 Main Street\nEND:VCARD",
        "https://shop.example/p/4006381333931",
        "4006381333932",
        "WIFI:S:home;P:4006381333931;;",
        "(01)04006381333932",
        "https://id.gs1.org/01/04006381333932",
        "(02)04006381333931",
    ],
)
def test_a_qr_code_without_a_valid_gtin_is_dropped(text: str) -> None:
    assert codes(CodeShot("QR", text, 4, 0)) == ()


@pytest.mark.parametrize(
    "pixels",
    [gradient(1, 1), gradient(3000, 1), gradient(1, 3000), gradient(23, 23), gradient(640, 30), noise(400, 300)],
    ids=["dot", "row", "column", "tiny", "strip", "noise"],
)
def test_other_photos_have_no_code(pixels: np.ndarray) -> None:
    assert read_codes(Frame(pixels), PIXELS) == ()
    assert read_codes(Frame(pixels), 100_000) == ()


def test_many_bars_without_a_code_are_bounded_and_no_code() -> None:
    bars = np.zeros((900, 1200, 3), np.uint8)
    bars[:, ::6] = bars[:, 1::6] = bars[:, 2::6] = 255
    assert read_codes(Frame(bars), PIXELS) == ()


@pytest.mark.parametrize(
    ("text", "gtin"),
    [
        ("HTTPS://ID.GS1.ORG/01/4006381333931?17=271231", GTIN),
        ("shop.example/a/b/gtin/4006381333931#x", GTIN),
        ("]Q30104006381333931", GTIN),
        ("0104006381333931<GS>10A", GTIN),
        ("(10)AB(01)04006381333931", GTIN),
        (" 4006381333931 ", GTIN),
        ("https://id.gs1.org/01/40063813339310", 0),
        ("https://id.gs1.org/02/04006381333931", 0),
        ("https://id.gs1.org/?01=04006381333931", 0),
        ("(01)040063813339311", 0),
        ("tel:+4006381333931", 0),
        ("(01)" * 2000, 0),
        ("/01/" * 1000, 0),
        ("", 0),
    ],
)
def test_the_gtin_in_a_text(text: str, gtin: int) -> None:
    assert gtin_in(text) == gtin
