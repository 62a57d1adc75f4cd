"""Boxes, letterboxes and points, over all sizes that a photo can have."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.geometry import Box, Placement, Point, smallest_covering

sizes = st.integers(1, 4096)
fractions = st.floats(0, 1, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    y = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    return Box(x[0], y[0], x[1], y[1])


@given(box=boxes(), outer=boxes())
def test_a_box_in_fractions_of_another_lies_in_it_or_has_no_area(box: Box, outer: Box) -> None:
    found = box.inside(outer)
    assert found is None or found.intersection(outer) == found
    assert Box.whole().inside(outer) == outer
    assert box.inside(Box.whole()) == box


@pytest.mark.parametrize(
    "corners",
    [
        (0.5, 0.0, 0.5, 1.0),
        (0.6, 0.0, 0.5, 1.0),
        (0.0, 0.6, 1.0, 0.5),
        (-0.01, 0.0, 1.0, 1.0),
        (0.0, 0.0, 1.01, 1.0),
        (math.nan, 0.0, 1.0, 1.0),
        (0.0, 0.0, math.nan, 1.0),
        (0.0, 0.0, math.inf, 1.0),
        (0.0, -math.inf, 1.0, 1.0),
    ],
)
def test_no_box_is_empty_or_leaves_the_image(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="box"):
        Box(*corners)


@given(boxes(), sizes, sizes)
def test_pixels_of_a_box_are_never_none_and_inside(box: Box, width: int, height: int) -> None:
    left, top, right, bottom = box.pixels(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left <= box.area**0 * (box.x_max - box.x_min) * width + 1.5


def test_the_whole_image_is_all_its_pixels() -> None:
    assert Box.whole().pixels(7, 3) == (0, 0, 7, 3)
    assert Box.whole().area == 1.0


@given(fractions, fractions, st.floats(1e-3, 1.0), sizes, sizes)
def test_a_square_around_a_point_is_a_square_that_covers_it(
    x: float, y: float, side: float, width: int, height: int
) -> None:
    box = Box.square_around(Point(x, y), side, width / height)
    edge = side * min(width, height)
    assert (box.x_max - box.x_min) * width == pytest.approx(edge, rel=1e-6, abs=1e-6)
    assert (box.y_max - box.y_min) * height == pytest.approx(edge, rel=1e-6, abs=1e-6)
    assert box.x_min - 1e-9 <= x <= box.x_max + 1e-9
    assert box.y_min - 1e-9 <= y <= box.y_max + 1e-9


@given(boxes(), boxes())
def test_iou_is_symmetric_and_a_fraction(one: Box, other: Box) -> None:
    assert one.iou(other) == pytest.approx(other.iou(one))
    assert 0.0 <= one.iou(other) <= 1.0 + 1e-9
    assert one.iou(one) == pytest.approx(1.0)


def test_iou_of_known_boxes() -> None:
    assert Box(0, 0, 0.5, 1).iou(Box(0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)
    assert Box(0, 0, 0.5, 0.5).iou(Box(0.5, 0.5, 1, 1)) == 0.0


@given(sizes, sizes, st.integers(1, 1024), st.integers(1, 1024))
def test_a_letterbox_fits_its_canvas(width: int, height: int, canvas_width: int, canvas_height: int) -> None:
    place = Placement.inside(width, height, canvas_width, canvas_height)
    assert 1 <= place.inner_width <= canvas_width
    assert 1 <= place.inner_height <= canvas_height
    assert place.left + place.inner_width <= canvas_width
    assert place.top + place.inner_height <= canvas_height
    # One of the edges is filled, and the padding is the same on both sides but for an odd pixel.
    assert place.inner_width == canvas_width or place.inner_height == canvas_height
    assert 0 <= canvas_width - place.inner_width - 2 * place.left <= 1
    assert 0 <= canvas_height - place.inner_height - 2 * place.top <= 1


@given(boxes(), sizes, sizes, st.sampled_from([64, 416, 640]))
def test_a_box_survives_the_letterbox_and_the_way_back(box: Box, width: int, height: int, canvas: int) -> None:
    place = Placement.inside(width, height, canvas, canvas)
    scale = np.array([place.inner_width, place.inner_height] * 2) / canvas
    offset = np.array([place.left, place.top] * 2) / canvas
    corners = np.array([box.x_min, box.y_min, box.x_max, box.y_max])
    seen = (corners * scale + offset).astype(np.float32)
    # One float32 step on the canvas is larger in the image the thinner the image is in it.
    tolerance = 4e-7 * canvas / min(place.inner_width, place.inner_height) + 1e-6
    assert place.to_image(seen[None])[0] == pytest.approx(corners, abs=tolerance)


def test_boxes_in_the_padding_are_clipped_to_the_image() -> None:
    place = Placement.inside(200, 100, 100, 100)
    assert place.to_image(np.array([[0.0, 0.0, 1.0, 0.5]], np.float32))[0].tolist() == [0.0, 0.0, 1.0, 0.5]
    above = place.to_image(np.array([[0.0, 0.0, 1.0, 0.2]], np.float32))[0]
    assert above.tolist() == [0.0, 0.0, 1.0, 0.0]


def test_the_smallest_box_that_covers_a_point() -> None:
    found = [Box(0, 0, 1, 1), Box(0.4, 0.4, 0.6, 0.6), Box(0.3, 0.3, 0.7, 0.7), Box(0, 0, 0.1, 0.1)]
    assert smallest_covering(found, Point(0.5, 0.5)) == 1
    assert smallest_covering(found, Point(0.4, 0.4)) == 1, "edges belong to the box"
    assert smallest_covering(found, Point(0.35, 0.5)) == 2
    assert smallest_covering(found[1:], Point(0.9, 0.9)) is None
    assert smallest_covering([], Point(0.5, 0.5)) is None
