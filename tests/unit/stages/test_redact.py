"""The pixels of people that are hidden, on made-up scenes: all of theirs, none of what they carry, nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, Scene
from sightline_server.settings import DetectionSettings
from sightline_server.stages.redact import GREY, Redaction, Views, redacted, redaction

SETTINGS = DetectionSettings()
PIXELS = np.random.default_rng(0).integers(0, 100, (100, 200, 3), np.uint8)
FRAME = Frame(PIXELS)
PERSON = Detection(Box(0.25, 0.25, 0.75, 0.75), "person", 0.9)
BAG = Detection(Box(0.5, 0.5, 0.6, 0.6), "handbag", 0.6)
VASE = Detection(Box(0.0, 0.0, 0.2, 0.2), "vase", 0.6)


def mask_of(hidden: Redaction) -> Any:
    """The pixels that are hidden, bool [H,W]."""
    return redacted(Frame(np.zeros_like(PIXELS)), hidden).pixels[..., 0] == GREY


def hidden_of(*people: Detection, products: tuple[Detection, ...] = (), **changes: Any) -> Redaction:
    """The parts of such a scene that are hidden."""
    found = redaction(Scene(products, people), DetectionSettings(**changes))
    assert found is not None
    return found


def test_a_photo_without_people_stays_itself() -> None:
    assert redaction(Scene((VASE,)), SETTINGS) is None


def test_with_the_setting_off_nothing_is_hidden() -> None:
    assert redaction(Scene((), (PERSON,)), DetectionSettings(redact_people=False)) is None


def test_a_person_is_grey_with_a_margin_and_the_rest_of_the_photo_is_as_before() -> None:
    hidden = hidden_of(PERSON, products=(VASE,), person_padding=0.1)
    found = redacted(FRAME, hidden).pixels
    assert (found[20:80, 40:160] == GREY).all()
    outside = ~mask_of(hidden)
    assert outside.sum() == 100 * 200 - 60 * 120
    assert np.array_equal(found[outside], PIXELS[outside])


def test_the_frame_itself_is_not_written_to() -> None:
    before = PIXELS.copy()
    redacted(FRAME, hidden_of(PERSON))
    assert np.array_equal(PIXELS, before)


def test_a_bag_that_a_person_carries_is_visible_to_itself_and_to_no_other_object() -> None:
    views = Views(FRAME, hidden_of(PERSON, products=(BAG, VASE)))
    for box in (BAG.box, Box(0.48, 0.48, 0.6, 0.6)):
        found = views.of(box).pixels
        assert np.array_equal(found[50:60, 100:120], PIXELS[50:60, 100:120])
        assert (found[50:60, 90:99] == GREY).all()
    for box in (VASE.box, Box.whole(), PERSON.box):
        assert (views.of(box).pixels[25:75, 50:150] == GREY).all()


def test_objects_see_one_copy_and_without_people_the_frame_itself() -> None:
    views = Views(FRAME, hidden_of(PERSON))
    assert views.of(VASE.box) is views.of(Box.whole())
    assert Views(FRAME).of(VASE.box) is FRAME


def test_the_margin_ends_at_the_edge_of_the_photo() -> None:
    whole = Detection(Box.whole(), "person", 0.9)
    assert (redacted(FRAME, hidden_of(whole)).pixels == GREY).all()


def test_colours_are_converted_as_those_of_the_photo_were() -> None:
    frame = Frame(PIXELS, to_srgb=lambda part: part[..., ::-1])
    assert redacted(frame, hidden_of(PERSON)).to_srgb is frame.to_srgb


def test_a_pixel_of_which_a_person_has_a_part_is_hidden() -> None:
    thin = Detection(Box(0.0, 0.99, 1.0, 0.9921875), "person", 0.9)
    assert mask_of(hidden_of(thin))[99].all()
    assert mask_of(hidden_of(replace(PERSON, box=Box(0.25, 0.25, 0.502, 0.751)), person_padding=0.0))[75, 100]


@st.composite
def people(draw: Any) -> Detection:
    """People anywhere, also thinner than a pixel."""
    x_min, y_min = draw(st.floats(0, 0.99)), draw(st.floats(0, 0.99))
    x_max, y_max = draw(st.floats(x_min, 1.0, exclude_min=True)), draw(st.floats(y_min, 1.0, exclude_min=True))
    return Detection(Box(x_min, y_min, x_max, y_max), "person", 0.9)


@given(st.lists(people(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_what_was_hidden_cannot_be_told_from_the_result(found: list[Detection], seed: int) -> None:
    hidden = hidden_of(*found)
    mask = mask_of(hidden)
    noise = np.random.default_rng(seed).integers(0, 256, PIXELS.shape, np.uint8)
    other = Frame(np.where(mask[..., None], noise, PIXELS))
    assert np.array_equal(redacted(FRAME, hidden).pixels, redacted(other, hidden).pixels)
    for each in found:
        left, top, right, bottom = each.box.pixels(FRAME.width, FRAME.height)
        assert mask[top:bottom, left:right].all()
