"""Taps that grow: drawn objects are found, what is not plausible is not, and nobody becomes a part of a box."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, Scene, TapBox
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice, choose
from sightline_server.stages.grow import grown, to_grow

SETTINGS = DetectionSettings()
WIDTH, HEIGHT = 320, 240


def wall(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A grey wall with grain, uint8 [H,W,3]."""
    grain = np.random.default_rng(0).normal(150, 6, (height, width, 3))
    return np.clip(grain, 0, 255).astype(np.uint8)


def with_ellipse(centre: tuple[int, int], axes: tuple[int, int], **changes: Any) -> Frame:
    """The wall with a red ellipse that has a white stripe."""
    pixels = wall(**changes)
    cv2.ellipse(pixels, centre, axes, 0, 0, 360, (190, 40, 30), -1)
    cv2.ellipse(pixels, centre, (axes[0] // 2, axes[1] // 6), 0, 0, 360, (240, 235, 230), -1)
    return Frame(pixels)


def ellipse_box(centre: tuple[int, int], axes: tuple[int, int], width: int = WIDTH, height: int = HEIGHT) -> Box:
    """The box of an ellipse."""
    (x, y), (a, b) = centre, axes
    return Box((x - a) / width, (y - b) / height, (x + a) / width, (y + b) / height)


def tapped(frame: Frame, *regions: Region, people: tuple[Box, ...] = (), faint: tuple[Box, ...] = ()) -> Choice:
    """The choice for taps in a photo with these people, and what may be people, before and after growing."""
    scene = Scene(
        (),
        tuple(Detection(box, "person", 0.9) for box in people),
        (),
        tuple(Detection(box, "person", 0.15) for box in faint),
    )
    query = SearchQuery("r", b"p", 1.0, max_objects=8, max_products=10, min_similarity=0.0, regions=regions)
    choice = choose(query, frame, scene, SETTINGS)
    return grown(choice, regions, frame, SETTINGS) if to_grow(choice) else choice


@pytest.mark.parametrize("axes", [(30, 20), (30, 30), (50, 50)], ids=str)
def test_a_tap_grows_to_the_object_under_it(axes: tuple[int, int]) -> None:
    centre = (150, 110)
    (item,) = tapped(
        with_ellipse(centre, axes), Point((150 + axes[0] * 0.3) / WIDTH, (110 + axes[1] * 0.3) / HEIGHT)
    ).objects
    assert (item.source, item.tap_box, item.label, item.score) == (ObjectSource.TAP, TapBox.GROWN, "", 0.0)
    assert item.box.iou(ellipse_box(centre, axes)) > 0.7


def test_the_same_tap_gives_the_same_box() -> None:
    frame, tap = with_ellipse((150, 110), (30, 40)), Point(0.45, 0.45)
    cv2.setRNGSeed(1)
    first = tapped(frame, tap)
    cv2.setRNGSeed(2)
    assert tapped(frame, tap) == first
    assert tapped(frame, Point(0.1, 0.1), tap).objects[1].box == first.objects[0].box


def test_an_object_at_the_edge_of_the_photo_is_found() -> None:
    centre, axes = (300, 200), (40, 60)
    (item,) = tapped(with_ellipse(centre, axes), Point(0.93, 0.8)).objects
    assert item.tap_box is TapBox.GROWN
    assert (item.box.x_max, item.box.y_max) == (1.0, 1.0)
    assert item.box.iou(Box(260 / WIDTH, 140 / HEIGHT, 1.0, 1.0)) > 0.7


@pytest.mark.parametrize(
    "frame",
    [
        Frame(np.full((240, 320, 3), 128, np.uint8)),
        Frame(wall()),
        Frame(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)),
        with_ellipse((160, 120), (155, 115)),
        with_ellipse((160, 120), (2, 2)),
    ],
    ids=["one colour", "wall", "noise", "nearly all of the photo", "a speck"],
)
def test_what_is_not_plausible_leaves_the_square(frame: Frame) -> None:
    (item,) = tapped(frame, Point(0.5, 0.5)).objects
    assert item.tap_box is TapBox.SQUARE or 0.002 <= item.box.area <= 0.6
    if item.tap_box is TapBox.SQUARE:
        assert item.box == Box.square_around(Point(0.5, 0.5), SETTINGS.tap_square, WIDTH / HEIGHT)


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (3000, 2), (2, 3000), (17, 17)], ids=str)
@pytest.mark.parametrize("tap", [Point(0, 0), Point(1, 1), Point(0.5, 0.5)], ids=str)
def test_photos_of_any_size_have_an_answer(size: tuple[int, int], tap: Point) -> None:
    (item,) = tapped(Frame(wall(*size)), tap).objects
    assert 0.0 <= item.box.x_min < item.box.x_max <= 1.0


def test_each_tap_is_grown_by_itself_and_boxes_stay() -> None:
    box = Box(0.6, 0.1, 0.9, 0.4)
    choice = tapped(with_ellipse((100, 110), (30, 30)), box, Point(0.32, 0.46))
    assert [each.source for each in choice.objects] == [ObjectSource.BOX, ObjectSource.TAP]
    assert [each.tap_box for each in choice.objects] == [None, TapBox.GROWN]
    assert choice.objects[0].box == box


def test_a_refused_tap_keeps_its_square() -> None:
    frame, tap = with_ellipse((150, 110), (30, 40)), Point(0.46, 0.45)
    choice = tapped(frame, tap, people=(Box(0.2, 0.1, 0.7, 1.0),))
    assert choice.on_person == {"o1"}
    assert choice.objects[0].tap_box is TapBox.SQUARE


@pytest.mark.parametrize("which", ["people", "faint"])
def test_a_box_with_a_part_of_a_person_is_not_used(which: str) -> None:
    frame, tap = with_ellipse((150, 110), (30, 40)), Point(0.46, 0.45)
    assert tapped(frame, tap).objects[0].tap_box is TapBox.GROWN
    person = Box(0.54, 0.0, 0.7, 1.0)
    choice = tapped(frame, tap, **{which: (person,)})
    assert choice.on_person == frozenset()
    assert choice.objects[0].tap_box is TapBox.SQUARE


def test_a_tap_on_what_may_be_a_person_keeps_its_square() -> None:
    choice = tapped(with_ellipse((150, 110), (30, 40)), Point(0.46, 0.45), faint=(Box(0.4, 0.4, 0.5, 0.5),))
    assert choice.objects[0].tap_box is TapBox.SQUARE


COORDINATE = st.floats(0.0, 0.9)


@examples(max_examples=25, deadline=None)
@given(tap=st.tuples(COORDINATE, COORDINATE), left=COORDINATE, top=COORDINATE, width=st.floats(0.05, 0.5))
def test_no_grown_box_has_a_part_of_a_person(tap: tuple[float, float], left: float, top: float, width: float) -> None:
    person = Box(left, top, min(1.0, left + width), min(1.0, top + 2 * width))
    (item,) = tapped(with_ellipse((150, 110), (60, 60)), Point(*tap), people=(person,)).objects
    if item.tap_box is TapBox.GROWN:
        assert item.box.intersection(person.grown(SETTINGS.person_padding)) is None
