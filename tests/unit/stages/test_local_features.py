"""Local features: bounded, found again in a turned and scaled photo, and no proof where the geometry is not one."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.feature_bytes import decode, encode
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures, no_features
from sightline_server.stages.local_features.colours import colours_of
from sightline_server.stages.local_features.describing import MOST_POINTS, features_of, image_features
from sightline_server.stages.local_features.matching import LEAST_INLIERS, inliers, matches, plausible

WHOLE = Box.whole()
STORED_BYTES = 51_000


def print_of(seed: int, size: int = 360) -> NDArray[np.uint8]:
    """An image with many shapes, as the print on a package."""
    draw = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), 230, np.uint8)
    for _ in range(120):
        x, y = draw.integers(0, size, 2).tolist()
        wide, high = draw.integers(8, 60, 2).tolist()
        cv2.rectangle(pixels, (x, y), (x + wide, y + high), draw.integers(0, 255, 3).tolist(), -1)
    return pixels


def of(pixels: NDArray[np.uint8], box: Box = WHOLE) -> LocalFeatures:
    return features_of(Frame(pixels), box)


def turned(pixels: NDArray[np.uint8], degrees: float, scale: float) -> NDArray[np.uint8]:
    middle = pixels.shape[1] / 2, pixels.shape[0] / 2
    size = pixels.shape[1], pixels.shape[0]
    found = cv2.warpAffine(pixels, cv2.getRotationMatrix2D(middle, degrees, scale), size, borderValue=(90, 90, 90))
    return found.astype(np.uint8, copy=False)


def test_features_are_bounded_and_the_same_each_time() -> None:
    large = np.kron(np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    found, again = of(large), of(large)
    assert 50 < len(found) <= MOST_POINTS
    assert found.points.shape == (len(found), 2)
    assert found.points.dtype == np.float32
    assert found.descriptors.shape == (len(found), 128)
    assert found.descriptors.dtype == np.uint8
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.descriptors, again.descriptors)
    assert len(encode(found)) <= STORED_BYTES


@pytest.mark.parametrize("shape", [(200, 300, 3), (4, 300, 3), (1, 1, 3), (15, 15, 3)])
def test_an_image_without_texture_or_without_room_has_no_features(shape: tuple[int, int, int]) -> None:
    assert len(of(np.full(shape, 128, np.uint8))) == 0


def test_encoded_features_are_the_same_when_they_are_decoded() -> None:
    found = of(print_of(1))
    decoded = decode(encode(found))
    assert decoded is not None
    assert np.array_equal(decoded.descriptors, found.descriptors)
    assert np.abs(decoded.points - found.points).max() <= 1 / 64
    nothing = decode(encode(no_features()))
    assert nothing is not None
    assert len(nothing) == 0


@given(st.binary(max_size=400))
def test_other_bytes_are_not_decoded(stored: bytes) -> None:
    assert decode(stored) is None or stored.startswith((b"SLF1", b"SLF2"))


def test_cut_bytes_are_not_decoded() -> None:
    for stored in (encode(of(print_of(1))), encode(image_features(Frame(print_of(1))))):
        assert decode(stored[:-1]) is None
        assert decode(stored + b"x") is None


def test_a_catalog_image_has_its_colours_and_an_earlier_one_none() -> None:
    decoded = decode(encode(image_features(Frame(print_of(1)))))
    assert decoded is not None
    assert decoded.colours is not None
    assert np.array_equal(decoded.colours, colours_of(Frame(print_of(1)), WHOLE))
    earlier = decode(encode(of(print_of(1))))
    assert earlier is not None
    assert earlier.colours is None
    assert len(encode(image_features(Frame(print_of(1))))) <= STORED_BYTES


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (25.0, 0.6), (-90.0, 0.8), (180.0, 0.45)])
def test_the_same_print_is_found_turned_and_smaller(degrees: float, scale: float) -> None:
    assert inliers(of(turned(print_of(1), degrees, scale)), of(print_of(1))) >= 3 * LEAST_INLIERS


def test_a_print_is_found_in_the_part_of_a_photo_that_a_box_covers() -> None:
    photo = np.full((600, 800, 3), 90, np.uint8)
    photo[120:480, 400:760] = print_of(1)
    image = of(print_of(1))
    assert inliers(of(photo, Box(0.5, 0.2, 0.95, 0.8)), image) >= 3 * LEAST_INLIERS
    assert inliers(of(photo, Box(0.0, 0.0, 0.45, 1.0)), image) == 0


@pytest.mark.parametrize("other", range(2, 8))
def test_another_print_has_no_inliers(other: int) -> None:
    assert inliers(of(print_of(other)), of(print_of(1))) == 0


def test_points_that_lie_together_or_on_a_line_prove_nothing() -> None:
    image = of(print_of(1))
    spot = LocalFeatures(np.full_like(image.points, 100) + image.points * 1e-3, image.descriptors)
    line = LocalFeatures(image.points * np.array([1, 0], np.float32), image.descriptors)
    for query in (spot, line):
        assert len(matches(query, image)[0]) > 50
        assert inliers(query, image) == 0
    assert inliers(line, line) == 0
    assert inliers(image, image) > 50


def test_a_transform_of_an_impossible_scale_is_refused() -> None:
    points = np.random.default_rng(1).uniform(0, 400, (20, 2)).astype(np.float32)
    for scale, good in ((1.0, True), (0.01, False), (50.0, False)):
        assert plausible(np.array([[scale, 0.0, 0.0], [0.0, scale, 0.0]]), points, points) is good


def test_each_point_of_the_image_matches_once() -> None:
    image = of(print_of(1))
    repeated = LocalFeatures(image.points, np.repeat(image.descriptors[:1], len(image), axis=0))
    here, there = matches(repeated, image)
    assert len(there) == len(set(there.tolist())) <= 1
    assert len(here) == len(there)
    assert inliers(repeated, image) == 0


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_any_two_sets_of_features_compare(here: int, there: int, seed: int) -> None:
    draw = np.random.default_rng(seed)

    def some(count: int) -> LocalFeatures:
        points = draw.uniform(0, 3, (count, 2)).astype(np.float32)
        return LocalFeatures(points, draw.integers(0, 3, (count, 128)).astype(np.uint8))

    found = inliers(some(here), some(there))
    assert found == 0 or LEAST_INLIERS <= found <= min(here, there)
