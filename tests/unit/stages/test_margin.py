"""The plain margin of a catalog image: what is trimmed, and which images have nothing to trim."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.image import Frame
from sightline_server.domain.models import EmbedderSpec
from sightline_server.stages.crop import image_crops
from sightline_server.stages.margin import (
    CORNERS_AGREE,
    DIFFERENT,
    LEAST_PIXELS,
    PADDING,
    PixelBox,
    box_inside_margin,
    differing,
)
from tests.support.pictures import noise

SPEC = EmbedderSpec("tiny", "1", 24, 24, 8)
Pixels = NDArray[np.uint8]


def canvas(width: int, height: int, colour: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def product(width: int, height: int, box: PixelBox, colour: tuple[int, int, int] = (255, 255, 255)) -> Pixels:
    """An image of one colour with another colour in `box`."""
    pixels = canvas(width, height, colour)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = [(each + 90) % 256 for each in colour]
    return pixels


def slow_box(pixels: Pixels) -> PixelBox | None:
    """`differing` pixel by pixel."""
    height, width, _ = pixels.shape
    corners = [pixels[y, x].astype(int) for y in (0, height - 1) for x in (0, width - 1)]
    if max(int(max(each) - min(each)) for each in zip(*corners, strict=True)) > CORNERS_AGREE:
        return None
    rows, columns = (0, height - 1), (0, width - 1)
    distinct = [pixels[y, x].astype(int) for y in dict.fromkeys(rows) for x in dict.fromkeys(columns)]
    plain = np.round(np.mean(distinct, axis=0))
    other = [
        (x, y)
        for y in range(height)
        for x in range(width)
        if np.abs(pixels[y, x].astype(int) - plain).max() > DIFFERENT
    ]
    if not other:
        return None
    xs, ys = zip(*other, strict=True)
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def test_a_plain_margin_is_left_out_but_for_its_padding() -> None:
    assert box_inside_margin(Frame(product(200, 100, (50, 25, 150, 75)))) == (46, 23, 154, 77)


def test_padding_ends_at_the_edge_of_the_image() -> None:
    assert box_inside_margin(Frame(product(200, 100, (0, 25, 199, 75)))) == (0, 23, 200, 77)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (12, 200, 90), (245, 3, 250)])
def test_a_margin_may_have_any_colour(colour: tuple[int, int, int]) -> None:
    assert box_inside_margin(Frame(product(100, 100, (30, 30, 70, 70), colour))) == (28, 28, 72, 72)


@pytest.mark.parametrize(
    "pixels",
    [
        canvas(1, 1),
        canvas(300, 1),
        canvas(1, 300),
        canvas(200, 200, (128, 128, 128)),
        product(200, 200, (100, 0, 101, 200)),
        product(200, 200, (100, 100, 100 + LEAST_PIXELS - 1, 180)),
        product(2000, 2000, (900, 900, 990, 990)),
        product(200, 200, (3, 2, 198, 199)),
        noise(64, 64),
    ],
    ids=["a pixel", "a row", "a column", "one colour", "a line", "thin", "a speck", "hardly a margin", "noise"],
)
def test_an_image_without_a_margin_that_is_worth_a_view_has_one_view(pixels: Pixels) -> None:
    assert box_inside_margin(Frame(pixels)) is None
    assert len(image_crops(Frame(pixels), SPEC, 2)) == 1


def test_corners_that_differ_are_no_plain_margin() -> None:
    pixels = product(100, 100, (30, 30, 70, 70))
    pixels[0, 0] = 255 - CORNERS_AGREE
    assert box_inside_margin(Frame(pixels)) is not None
    pixels[0, 0] = 255 - CORNERS_AGREE - 1
    assert box_inside_margin(Frame(pixels)) is None


def test_slight_noise_belongs_to_the_margin() -> None:
    pixels = product(120, 120, (30, 30, 90, 90), (200, 200, 200))
    rough = pixels.astype(np.int16) + np.random.default_rng(1).integers(-5, 6, pixels.shape)
    assert box_inside_margin(Frame(rough.astype(np.uint8))) == (28, 28, 92, 92)


def test_two_views_are_the_crops_of_the_whole_and_of_the_box() -> None:
    pixels = product(200, 100, (50, 25, 150, 75))
    whole, inner = image_crops(Frame(pixels), SPEC, 2)
    [same] = image_crops(Frame(pixels), SPEC, 1)
    [alone] = image_crops(Frame(np.ascontiguousarray(pixels[23:77, 46:154])), SPEC, 1)
    assert np.array_equal(whole.pixels, same.pixels)
    assert np.array_equal(inner.pixels, alone.pixels)


small = st.integers(1, 24)


@given(small, small, st.integers(0, 2**32 - 1), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_the_box_is_that_of_a_comparison_pixel_by_pixel(width: int, height: int, seed: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    pixels = (100 + random.integers(0, levels + 1, (height, width, 3))).astype(np.uint8)
    if seed % 3 == 0:
        pixels[:: max(height - 1, 1), :: max(width - 1, 1)] = 110
    assert differing(pixels) == slow_box(pixels)


edge = st.integers(1, 400)


@given(edge, edge, st.data())
@settings(max_examples=150, deadline=None)
def test_a_box_is_inside_the_image_and_holds_the_product(width: int, height: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    found = box_inside_margin(Frame(product(width, height, (left, top, right, bottom))))
    if found is None:
        return
    assert 0 <= found[0] <= left < right <= found[2] <= width
    assert 0 <= found[1] <= top < bottom <= found[3] <= height
    assert left - found[0] <= PADDING * (right - left) + 1
    assert bottom + PADDING * (bottom - top) + 1 >= found[3]
    assert (found[2] - found[0]) * (found[3] - found[1]) < width * height
    assert len(image_crops(Frame(canvas(width, height)), SPEC, 2)) == 1


def test_a_large_image_takes_little_memory() -> None:
    pixels = product(3000, 2000, (500, 500, 2500, 1500))
    tracemalloc.start()
    try:
        assert box_inside_margin(Frame(pixels)) is not None
        assert tracemalloc.get_traced_memory()[1] < 3 * pixels.nbytes
    finally:
        tracemalloc.stop()
