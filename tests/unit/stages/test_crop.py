"""Crops: the box's pixels and nothing else, at the embedder's size, resampled as the catalog's images are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.models import EmbedderSpec
from sightline_server.stages.crop import crop
from tests.support.pictures import gradient, noise

SPEC = EmbedderSpec("embedder", "1", 32, 40, 8)


def test_the_whole_image_squashed() -> None:
    found = crop(Frame(gradient(400, 300)), Box.whole(), SPEC).pixels
    assert found.shape == (32, 40, 3) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - gradient(40, 32).astype(int)).max() <= 8


def test_only_the_box_is_seen() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[50:, 100:] = (255, 128, 7)
    found = crop(Frame(pixels), Box(0.5, 0.5, 1.0, 1.0), SPEC).pixels
    assert (found == (255, 128, 7)).all()
    assert (crop(Frame(pixels), Box(0.0, 0.0, 0.5, 0.5), SPEC).pixels == 0).all()


def test_a_part_of_a_photo_is_cropped_as_a_photo_of_that_part() -> None:
    pixels = noise(300, 200)
    inside = crop(Frame(pixels), Box(0.25, 0.5, 0.75, 1.0), SPEC).pixels
    alone = crop(Frame(np.ascontiguousarray(pixels[100:200, 75:225])), Box.whole(), SPEC).pixels
    assert (inside == alone).all()


def test_it_is_pillows_antialiased_bicubic() -> None:
    pixels = noise(64, 64)
    plain = np.asarray(Image.fromarray(pixels).resize((40, 32), Image.Resampling.BICUBIC))
    assert (crop(Frame(pixels), Box.whole(), SPEC).pixels == plain).all()
    # Far above the target it is reduced first; what is fine must average out, not alias.
    stripes = np.zeros((1600, 2000, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(crop(Frame(stripes), Box.whole(), SPEC).pixels.astype(int) - 127).max() <= 2


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.99), st.floats(0, 0.99))
@settings(deadline=None)
def test_any_box_of_any_image_gives_a_crop(width: int, height: int, x: float, y: float) -> None:
    box = Box(x, y, min(1.0, x + 0.004), min(1.0, y + 0.009))
    found = crop(Frame(gradient(width, height)), box, SPEC).pixels
    assert found.shape == (32, 40, 3)


@pytest.mark.parametrize("size", [(3072, 1), (1, 3072), (1, 1), (40, 32)])
def test_thin_frames(size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 77, np.uint8)
    assert (crop(Frame(pixels), Box.whole(), SPEC).pixels == 77).all()
