"""A model's input: exact geometry, Pillow's pixels, and the boxes' way back through the same geometry."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline_server.domain.geometry import Box, Placement
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.domain.preprocess import (
    DETECTOR_PREPROCESS,
    Align,
    Colour,
    Fit,
    Preprocess,
    Resampler,
)
from sightline_server.settings import DetectionSettings
from sightline_server.stages import resample
from sightline_server.stages.crop import crop
from sightline_server.stages.detect import detector_input, to_scene
from sightline_server.stages.model_input import model_input
from tests.support.pictures import noise

Pixels = NDArray[np.uint8]
PILLOW = {
    Resampler.NEAREST: Image.Resampling.NEAREST,
    Resampler.BILINEAR: Image.Resampling.BILINEAR,
    Resampler.BICUBIC: Image.Resampling.BICUBIC,
    Resampler.LANCZOS: Image.Resampling.LANCZOS,
}
CROP_36 = Preprocess(Fit.SHORTEST_EDGE_CENTER_CROP, Resampler.NEAREST, shortest_edge=36)
sizes = st.integers(1, 300)


def made(pixels: Pixels, width: int, height: int, how: Preprocess) -> Pixels:
    """The input of a model of `width` x `height` pixels."""
    found = model_input(Frame(pixels), pixels, width, height, how).pixels
    assert found.shape == (height, width, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    return found


def nearest(fit: Fit, **changes: Any) -> Preprocess:
    """A preprocess without interpolation."""
    return Preprocess(fit, Resampler.NEAREST, **changes)


def enlarged(pixels: Pixels, factor: int) -> Pixels:
    """Each pixel as a square of `factor` x `factor`."""
    return np.kron(pixels, np.ones((factor, factor, 1), np.uint8))


def test_squash_is_exact() -> None:
    pattern = noise(8, 4)
    assert (made(pattern, 32, 32, nearest(Fit.SQUASH)) == pattern.repeat(8, 0).repeat(4, 1)).all()
    assert (made(enlarged(pattern, 16), 8, 4, nearest(Fit.SQUASH)) == pattern).all()


@pytest.mark.parametrize(("align", "top"), [(Align.CENTER, 8), (Align.TOP_LEFT, 0)])
@pytest.mark.parametrize("fill", [(114, 114, 114), (0, 10, 255)])
def test_a_letterbox_has_the_stated_fill_and_place(align: Align, top: int, fill: tuple[int, int, int]) -> None:
    pattern = noise(8, 4)
    found = made(pattern, 32, 32, nearest(Fit.LETTERBOX, fill=fill, align=align))
    assert (found[top : top + 16] == enlarged(pattern, 4)).all()
    assert (np.delete(found, np.s_[top : top + 16], axis=0) == fill).all()


def test_a_tall_letterbox_is_padded_at_its_sides() -> None:
    pattern = noise(4, 8)
    found = made(pattern, 32, 32, nearest(Fit.LETTERBOX, fill=(114, 114, 114)))
    assert (found[:, 8:24] == enlarged(pattern, 4)).all()
    assert (found[:, :8] == 114).all() and (found[:, 24:] == 114).all()


@pytest.mark.parametrize("fit", [Fit.CENTER_CROP, Fit.SHORTEST_EDGE])
@pytest.mark.parametrize(("size", "part"), [((12, 8), np.s_[:, 2:10]), ((8, 12), np.s_[2:10, :])])
def test_the_middle_fills_the_input(fit: Fit, size: tuple[int, int], part: Any) -> None:
    pattern = noise(*size)
    assert (made(pattern, 32, 32, nearest(fit)) == enlarged(pattern[part], 4)).all()


def test_center_crop_keeps_the_proportions_of_the_input() -> None:
    pattern = noise(8, 8)
    assert (made(pattern, 32, 16, nearest(Fit.CENTER_CROP)) == enlarged(pattern[2:6], 4)).all()


@pytest.mark.parametrize(("size", "left", "top"), [((18, 12), 11, 2), ((12, 18), 2, 11), ((12, 12), 2, 2)])
def test_shortest_edge_and_center_crop_are_exact(size: tuple[int, int], left: int, top: int) -> None:
    pattern = noise(*size)
    found = made(pattern, 32, 32, CROP_36)
    assert (found == enlarged(pattern, 3)[top : top + 32, left : left + 32]).all()


@pytest.mark.parametrize("resampler", PILLOW)
@pytest.mark.parametrize("size", [(400, 300), (50, 70), (33, 900), (224, 224)])
def test_resampled_pixels_are_pillows(resampler: Resampler, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    plain = np.asarray(Image.fromarray(pixels).resize((64, 48), PILLOW[resampler]))
    assert (made(pixels, 64, 48, Preprocess(Fit.SQUASH, resampler)) == plain).all()


@pytest.mark.parametrize("resampler", PILLOW)
@pytest.mark.parametrize("size", [(400, 300), (50, 70), (333, 251)])
def test_a_resized_and_cut_image_is_pillows(resampler: Resampler, size: tuple[int, int]) -> None:
    width, height = size
    pixels = noise(width, height)
    short = min(size)
    whole = np.asarray(Image.fromarray(pixels).resize((width * 64 // short, height * 64 // short), PILLOW[resampler]))
    top, left = (whole.shape[0] - 56) // 2, (whole.shape[1] - 56) // 2
    how = Preprocess(Fit.SHORTEST_EDGE_CENTER_CROP, resampler, shortest_edge=64)
    assert (made(pixels, 56, 56, how) == whole[top : top + 56, left : left + 56]).all()


@pytest.mark.parametrize("resampler", list(Resampler))
def test_a_thin_image_is_not_scaled_as_a_whole(resampler: Resampler, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(40, 90)
    how = Preprocess(Fit.SHORTEST_EDGE_CENTER_CROP, resampler, shortest_edge=64)
    whole = made(pixels, 56, 56, how)
    monkeypatch.setattr(resample, "WHOLE_PIXELS", 0)
    part = made(pixels, 56, 56, how)
    # Pillow takes the two directions in the order that costs less, and cuts overshoots off in between.
    assert np.abs(part.astype(int) - whole).mean() <= 1
    # 1 x 3000 pixels would be 64 x 192,000 as a whole, three times what may be made.
    assert (made(np.full((3000, 1, 3), 77, np.uint8), 56, 56, how) == 77).all()


def test_area_averages_areas_in_each_direction() -> None:
    stripes = np.zeros((1600, 20, 3), np.uint8)
    stripes[::2] = 255
    for pixels in (stripes, stripes.transpose(1, 0, 2)):
        found = made(np.ascontiguousarray(pixels), 40, 40, Preprocess(Fit.SQUASH, Resampler.AREA))
        assert np.abs(found.astype(int) - 127).max() <= 1
    pixels = noise(64, 64)
    box = np.asarray(Image.fromarray(pixels).resize((16, 16), Image.Resampling.BOX)).astype(int)
    assert np.abs(made(pixels, 16, 16, Preprocess(Fit.SQUASH, Resampler.AREA)) - box).mean() <= 2


def test_bgr_turns_the_channels_of_the_image_and_of_the_fill() -> None:
    pattern = noise(8, 4)
    how = nearest(Fit.LETTERBOX, fill=(0, 10, 255))
    turned = nearest(Fit.LETTERBOX, fill=(0, 10, 255), colour=Colour.BGR)
    assert (made(pattern, 32, 32, turned) == made(pattern, 32, 32, how)[..., ::-1]).all()


def old_letterbox(pixels: Pixels, width: int, height: int) -> Pixels:
    """The letterbox of versions that made every model's input alike."""
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inner_width = min(width, max(1, round(pixels.shape[1] * scale)))
    inner_height = min(height, max(1, round(pixels.shape[0] * scale)))
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    way = cv2.INTER_AREA if inner_width < pixels.shape[1] else cv2.INTER_LINEAR
    canvas = np.full((height, width, 3), 128, np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = cv2.resize(
        pixels, (inner_width, inner_height), interpolation=way
    )
    return canvas


def old_crop(part: Pixels, width: int, height: int) -> Pixels:
    """The crop of versions that made every model's input alike."""
    while part.shape[0] >= 3 * height and part.shape[1] >= 3 * width:
        half = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
        part = half.astype(np.uint8, copy=False)
    resized = Image.fromarray(np.ascontiguousarray(part)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized)


@given(st.integers(4, 300), st.integers(4, 300), st.integers(0, 9))
@settings(deadline=None)
def test_the_default_models_get_the_pixels_that_they_always_got(width: int, height: int, seed: int) -> None:
    pixels = noise(width, height, seed=seed)
    detector, embedder = DetectorSpec("d", "1", 64, 48, 8, ("chair",)), EmbedderSpec("e", "1", 24, 32, 8)
    assert (detector_input(Frame(pixels), detector).pixels == old_letterbox(pixels, 48, 64)).all()
    box = Box(0.1, 0.2, 0.8, 0.9)
    left, top, right, bottom = box.pixels(width, height)
    assert (crop(Frame(pixels), box, embedder).pixels == old_crop(pixels[top:bottom, left:right], 32, 24)).all()


preprocesses = st.builds(
    Preprocess,
    st.sampled_from(list(Fit)),
    st.sampled_from(list(Resampler)),
    align=st.sampled_from(list(Align)),
    shortest_edge=st.integers(64, 256),
)


@given(preprocesses, sizes, sizes, st.integers(16, 64), st.integers(16, 64))
@settings(deadline=None)
def test_every_image_has_an_input(how: Preprocess, width: int, height: int, across: int, down: int) -> None:
    place = how.place(width, height, across, down)
    assert (made(np.full((height, width, 3), how.fill, np.uint8), across, down, how) == how.fill).all()
    if how.fit is not Fit.LETTERBOX:
        assert place.left <= 0 <= place.left + place.inner_width - across
        assert place.top <= 0 <= place.top + place.inner_height - down


@given(
    preprocesses, sizes, sizes, st.sampled_from([64, 416]), st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1)
)
def test_a_box_survives_the_way_to_the_model_and_back(
    how: Preprocess, width: int, height: int, canvas: int, x: float, y: float, side: float
) -> None:
    place = how.place(width, height, canvas, canvas)
    corners = np.array([x, y, x + side, y + side])
    scale = np.array([place.inner_width, place.inner_height] * 2) / canvas
    offset = np.array([place.left, place.top] * 2) / canvas
    seen = (corners * scale + offset).astype(np.float32)
    # One float32 step on the canvas is larger in the image the thinner the image lies in it.
    thinnest = min(place.inner_width, place.inner_height)
    largest = max(1.0, float(np.abs(seen).max()), float(np.abs(offset).max()))
    tolerance = 1e-6 + 4e-7 * largest * canvas / thinnest
    assert place.to_image(seen[None])[0] == pytest.approx(corners, abs=tolerance)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Preprocess(Fit.SQUASH, Resampler.AREA), (0.0, 0.5, 0.5, 1.0)),
        (DETECTOR_PREPROCESS, (0.0, 0.5, 0.5, 1.0)),
        (Preprocess(Fit.LETTERBOX, Resampler.AREA, align=Align.TOP_LEFT), (0.0, 1.0, 0.5, 1.0)),
        (Preprocess(Fit.CENTER_CROP, Resampler.AREA), (0.25, 0.5, 0.5, 1.0)),
    ],
)
def test_a_detection_is_mapped_back_through_the_detectors_geometry(
    how: Preprocess, expected: tuple[float, float, float, float]
) -> None:
    spec = DetectorSpec("tiny", "1", 64, 64, 8, ("chair",), how)
    place = detector_input(Frame(noise(200, 100)), spec).placement
    raw = np.array([[0.0, 0.5, 0.5, 1.0]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32)
    products = to_scene(raw, place, spec, DetectionSettings()).products
    if expected[1] == expected[3]:
        assert products == (), "the detection is on the padding"
    else:
        assert products[0].box == Box(*expected)


def test_what_overhangs_loses_the_odd_pixel_as_padding_does() -> None:
    assert Placement.inside(5, 3, 10, 9).top == 1
    assert Placement.of_shortest_edge(7, 4, 4, 4, 4).left == -1
