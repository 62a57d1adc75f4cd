"""Colour histograms: alike for the same colours whatever their arrangement, and reasons about an average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Reason, ReasonKind
from sightline_server.domain.local_features import LocalFeatures, no_features
from sightline_server.domain.weights import Weights
from sightline_server.search.local_features import colour_reasons
from sightline_server.search.second_look import joined
from sightline_server.stages.local_features.colours import colours_of, likeness
from sightline_server.stages.local_features.evidence import Images, likenesses

WHOLE = Box.whole()
RED, GREEN, GREY = (200, 30, 30), (30, 160, 40), (128, 128, 128)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> NDArray[np.uint8]:
    """An image of one colour."""
    return np.full((*size, 3), colour, np.uint8)


def of(pixels: NDArray[np.uint8], box: Box = WHOLE) -> NDArray[np.uint8]:
    return colours_of(Frame(pixels), box)


def kept(pixels: NDArray[np.uint8] | None) -> LocalFeatures:
    """The stored features of an image; without colours for None."""
    nothing = no_features()
    return LocalFeatures(nothing.points, nothing.descriptors, None if pixels is None else of(pixels))


def reasons(images: Images) -> dict[str, tuple[Reason, ...]]:
    """The reasons for images, of a red object."""
    return colour_reasons(*likenesses(of(plain(RED)), images), Weights(colours=0.1))


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_the_shares_of_all_pixels_are_counted(height: int, width: int, seed: int) -> None:
    found = of(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    assert found.shape == (384,)
    assert found.dtype == np.uint8
    assert 0.97 < (np.square(found / 255)).sum() < 1.03
    assert likeness(found, found) == pytest.approx(1)


def test_an_image_of_one_colour_has_one_level() -> None:
    for colour in (RED, GREEN, GREY, (0, 0, 0), (255, 255, 255), (0, 0, 255), (255, 255, 0)):
        assert sorted(of(plain(colour)))[-2:] == [0, 255]


def test_the_arrangement_does_not_count_and_the_shares_do() -> None:
    halves = np.concatenate([plain(RED), plain(GREEN)])
    beside = np.concatenate([plain(GREEN), plain(RED)], axis=1)
    mostly = np.concatenate([plain(RED), plain(RED), plain(RED), plain(GREEN)])
    assert likeness(of(halves), of(beside)) == pytest.approx(1, abs=1e-6)
    assert 0.9 < likeness(of(halves), of(mostly)) < 1
    assert likeness(of(plain(RED)), of(plain(GREEN))) == 0
    assert likeness(of(halves), of(plain(RED))) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_only_the_part_in_the_box_counts() -> None:
    halves = np.concatenate([plain(RED), plain(GREEN)])
    assert np.array_equal(of(halves, Box(0.0, 0.0, 1.0, 0.5)), of(plain(RED)))


def test_a_large_image_is_reduced() -> None:
    large = np.concatenate([plain(RED, (600, 900)), plain(GREEN, (600, 900))])
    assert likeness(of(large), of(np.concatenate([plain(RED), plain(GREEN)]))) > 0.98


def test_colours_are_those_of_srgb() -> None:
    turned = Frame(plain(RED), lambda pixels: np.ascontiguousarray(pixels[..., ::-1]))
    assert np.array_equal(colours_of(turned, WHOLE), of(plain(RED[::-1])))


def test_the_contributions_of_all_compared_products_sum_to_nothing() -> None:
    images = {"red": kept(plain(RED)), "green": kept(plain(GREEN)), "unknown": kept(None)}
    found = reasons(images)
    assert set(found) == {"red", "green"}
    (red,), (green,) = found["red"], found["green"]
    assert red.kind is green.kind is ReasonKind.COLOUR
    assert [red.contribution, green.contribution] == pytest.approx([0.05, -0.05])
    assert red.text == "its colours are 100% like those of the object; the average is 50%"


def test_one_product_alone_is_like_the_average() -> None:
    assert reasons({"red": kept(plain(RED)), "unknown": kept(None)}) == {}


def test_reasons_are_joined_by_product() -> None:
    one = reasons({"a": kept(plain(RED)), "b": kept(plain(GREEN))})
    assert joined({}, one) == one
    assert [len(each) for each in joined(one, {"a": one["b"]}).values()] == [2, 1]
