"""The letterbox before the detector, and what is made of its answer: nothing that is off becomes an object."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, Scene
from sightline_server.domain.models import DetectorSpec
from sightline_server.domain.vocabulary import DEFAULT_VOCABULARY
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import DetectionSettings
from sightline_server.stages.detect import detector_input, split_answer, to_scene
from tests.support.pictures import gradient

SPEC = DetectorSpec("detector", "1", 64, 64, 8, ("chair", "vase", "person"))
SETTINGS = DetectionSettings()
SQUARE = detector_input(Frame(gradient(64, 64)), SPEC).placement


def answer(**changes: NDArray[Any]) -> dict[str, NDArray[Any]]:
    whole: dict[str, NDArray[Any]] = {
        "BOXES": np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (2, 3, 1)),
        "SCORES": np.full((2, 3), 0.5, np.float32),
        "LABELS": np.zeros((2, 3), np.int32),
    }
    return {**whole, **changes}


def found(*rows: tuple[float, ...], settings: DetectionSettings = SETTINGS) -> tuple[Detection, ...]:
    """Products of rows (x_min, y_min, x_max, y_max, score, label) in a square image."""
    return scene(*rows, settings=settings).products


def scene(*rows: tuple[float, ...], settings: DetectionSettings = SETTINGS) -> Scene:
    """The scene of rows (x_min, y_min, x_max, y_max, score, label) in a square image."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    raw = table[:, :4], table[:, 4], table[:, 5].astype(np.int32)
    return to_scene(raw, SQUARE, SPEC, settings)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (64, 64), (5, 3), (1, 3000), (3000, 1)])
def test_the_letterbox_keeps_the_whole_image_and_its_shape(size: tuple[int, int]) -> None:
    width, height = size
    seen = detector_input(Frame(gradient(width, height)), SPEC)
    place = seen.placement
    assert seen.pixels.shape == (64, 64, 3) and seen.pixels.dtype == np.uint8 and seen.pixels.flags.c_contiguous
    inner = seen.pixels[place.top : place.top + place.inner_height, place.left : place.left + place.inner_width]
    padding = seen.pixels.copy()
    padding[place.top : place.top + place.inner_height, place.left : place.left + place.inner_width] = 128
    assert (padding == 128).all()
    if min(size) > 3:
        # Corners stay where they were: dark green-free left, full red right.
        assert inner[0, 0, 0] < 60 < 200 < inner[0, -1, 0]
        assert inner[0, 0, 1] < 60 < 200 < inner[-1, 0, 1]


def test_the_letterbox_does_not_touch_the_frame() -> None:
    frame = Frame(gradient(64, 64))
    seen = detector_input(frame, SPEC)
    seen.pixels[:] = 0
    assert (frame.pixels == gradient(64, 64)).all()


def test_a_right_answer_is_split_by_image() -> None:
    split = split_answer(answer(), 2, SPEC)
    assert len(split) == 2
    assert [part.shape for part in split[0]] == [(3, 4), (3,), (3,)]
    empty = answer(BOXES=np.zeros((2, 0, 4), np.float32), SCORES=np.zeros((2, 0)), LABELS=np.zeros((2, 0), np.int32))
    assert to_scene(split_answer(empty, 2, SPEC)[0], SQUARE, SPEC, SETTINGS) == Scene()


def judged(whole: dict[str, NDArray[Any]]) -> list[object]:
    """Each image's part of the answer to a batch of two."""
    return [to_scene(raw, SQUARE, SPEC, SETTINGS) for raw in split_answer(whole, 2, SPEC)]


@pytest.mark.parametrize(
    "changes",
    [
        {"BOXES": np.zeros((1, 3, 4), np.float32)},
        {"BOXES": np.zeros((2, 3, 5), np.float32)},
        {"BOXES": np.zeros((2, 12), np.float32)},
        {"BOXES": np.full((2, 3, 4), np.nan, np.float32)},
        {"BOXES": np.full((2, 3, 4), np.inf, np.float32)},
        {"SCORES": np.zeros((2, 4), np.float32)},
        {"SCORES": np.zeros((3, 3), np.float32)},
        {"SCORES": np.zeros(6, np.float32)},
        {"SCORES": np.float32(0.5)},
        {"SCORES": np.array([[0.5, 0.5, 0.5], [0.5, np.nan, 0.5]], np.float32)},
        {"LABELS": np.zeros((2, 2), np.int32)},
        {"LABELS": np.full((2, 3), 3, np.int32)},
        {"LABELS": np.full((2, 3), -1, np.int32)},
    ],
)
def test_an_answer_that_is_off_is_a_model_answer_error(changes: dict[str, Any]) -> None:
    with pytest.raises(SightlineError) as caught:
        judged(answer(**changes))
    assert caught.value.kind is ErrorKind.MODEL_ANSWER


def test_values_that_cannot_be_harm_no_other_image_of_the_batch() -> None:
    scores = np.array([[0.5, 0.5, 0.5], [0.5, np.nan, 0.5]], np.float32)
    right, wrong = split_answer(answer(SCORES=scores), 2, SPEC)
    assert to_scene(right, SQUARE, SPEC, SETTINGS)
    with pytest.raises(SightlineError):
        to_scene(wrong, SQUARE, SPEC, SETTINGS)


def test_scores_boxes_and_labels_come_through_best_first() -> None:
    detections = found((0.5, 0.5, 0.9, 0.9, 0.5, 1), (0.0, 0.0, 0.4, 0.4, 0.75, 0))
    assert [each.label for each in detections] == ["chair", "vase"]
    assert detections[0].score == 0.75
    assert detections[1].box == Box(0.5, 0.5, *(float(np.float32(0.9)),) * 2)


def test_equal_scores_are_ordered_by_place() -> None:
    left, right = (0.0, 0.0, 0.3, 0.3, 0.5, 0), (0.6, 0.6, 0.9, 0.9, 0.5, 0)
    assert found(left, right) == found(right, left)


def test_overlaps_of_one_class_are_suppressed_and_those_of_two_are_not() -> None:
    best, double, other = (0.1, 0.1, 0.5, 0.5, 0.9, 0), (0.2, 0.1, 0.6, 0.5, 0.8, 0), (0.2, 0.1, 0.6, 0.5, 0.7, 1)
    kept = found(double, best, other)
    assert [(each.label, round(each.score, 3)) for each in kept] == [("chair", 0.9), ("vase", 0.7)]


def test_one_thing_with_two_words_is_one_object_with_the_better_word() -> None:
    couch, chair = (0.1, 0.1, 0.5, 0.5, 0.9, 1), (0.12, 0.1, 0.5, 0.5, 0.8, 0)
    assert [each.label for each in found(chair, couch)] == ["vase"]
    assert len(found(chair, couch, settings=DetectionSettings(same_box_iou=1.0))) == 2


@pytest.mark.parametrize("label", sorted(DEFAULT_VOCABULARY.not_products))
def test_no_person_animal_or_vehicle_becomes_an_object(label: str) -> None:
    spec = DetectorSpec("detector", "1", 64, 64, 8, ("chair", label))
    table = np.array([[0.1, 0.1, 0.6, 0.6], [0.5, 0.5, 0.9, 0.9]], np.float32)
    raw = table, np.array([0.99, 0.5], np.float32), np.array([1, 0], np.int32)
    assert [each.label for each in to_scene(raw, SQUARE, spec, SETTINGS).products] == ["chair"]


PERSON = (0.1, 0.1, 0.6, 0.6, 0.9, 2)


def test_people_are_kept_apart_from_the_products() -> None:
    seen = scene(PERSON, (0.5, 0.5, 0.9, 0.9, 0.5, 0))
    assert [each.label for each in seen.products] == ["chair"]
    assert [(each.label, round(each.score, 3)) for each in seen.people] == [("person", 0.9)]


def test_a_product_with_the_box_of_a_person_does_not_replace_the_person() -> None:
    seen = scene((0.1, 0.1, 0.6, 0.6, 0.99, 0), PERSON)
    assert [each.label for each in seen.people] == ["person"]


def test_people_have_a_threshold_of_their_own() -> None:
    faint_person, faint_chair = (0.1, 0.1, 0.6, 0.6, 0.2, 2), (0.7, 0.7, 0.9, 0.9, 0.2, 0)
    lower = DetectionSettings(person_min_score=0.15)
    assert scene(faint_person, faint_chair) == Scene()
    seen = scene(faint_person, faint_chair, settings=lower)
    assert ([each.label for each in seen.people], seen.products) == (["person"], ())
    higher = DetectionSettings(person_min_score=0.95)
    assert scene(PERSON, settings=higher) == Scene()


def test_without_person_labels_a_person_is_neither_product_nor_person() -> None:
    assert scene(PERSON, settings=DetectionSettings(person_labels=frozenset())) == Scene()


def test_small_weak_and_degenerate_boxes_are_left_out() -> None:
    fine = (0.1, 0.1, 0.6, 0.6, 0.9, 0)
    off = [
        (0.1, 0.1, 0.6, 0.6, 0.24, 1),
        (0.1, 0.1, 0.12, 0.12, 0.9, 1),
        (0.6, 0.6, 0.1, 0.1, 0.9, 1),
        (0.7, 0.1, 0.2, 0.8, 0.9, 1),
        (0.3, 0.3, 0.3, 0.9, 0.9, 1),
        (1.2, 1.2, 1.9, 1.9, 0.9, 1),
        (-5.0, -5.0, -1.0, -1.0, 0.9, 1),
    ]
    for each in off:
        assert [item.label for item in found(fine, each)] == ["chair"]
    for each in off[2:]:
        assert [item.label for item in found(fine, each, settings=DetectionSettings(min_area=0.0))] == ["chair"]


def test_a_box_that_leaves_the_image_is_clipped() -> None:
    (only,) = found((-0.5, -0.5, 1.5, 0.5, 0.9, 0))
    assert only.box == Box(0.0, 0.0, 1.0, 0.5)


anything = st.floats(-2, 2, width=32)


@given(
    st.lists(
        st.tuples(anything, anything, anything, anything, st.floats(0, 1, width=32), st.integers(0, 2)), max_size=20
    )
)
@settings(deadline=None)
def test_any_finite_answer_gives_lawful_detections(rows: list[tuple[float, ...]]) -> None:
    detections = found(*rows)
    assert list(detections) == sorted(detections, key=lambda each: -each.score)
    for each in detections:
        assert each.score >= SETTINGS.min_score
        assert each.label in ("chair", "vase")
        assert each.box.area >= SETTINGS.min_area


@given(
    st.lists(
        st.tuples(
            st.floats(0, 0.5),
            st.floats(0, 0.5),
            st.floats(0.1, 0.5),
            st.floats(0.1, 0.5),
            st.floats(0.3, 1),
            st.integers(0, 1),
        ),
        max_size=12,
    )
)
@settings(deadline=None)
def test_suppression_is_the_greedy_one(rows: list[tuple[float, ...]]) -> None:
    """Against non-maximum suppression as the textbook has it; a case on the edge of the threshold proves nothing."""
    corners = [(x, y, x + w, y + h, score, label) for x, y, w, h, score, label in rows]
    apart, alone = DetectionSettings(same_box_iou=1.0), DetectionSettings(nms_iou=1.0, same_box_iou=1.0)
    candidates = sorted(found(*corners, settings=alone), key=lambda each: -each.score)
    if len({each.score for each in candidates}) < len(candidates):
        return
    kept: list[Detection] = []
    for each in candidates:
        overlaps = [each.box.iou(other.box) for other in kept if other.label == each.label]
        if any(abs(overlap - SETTINGS.nms_iou) < 1e-4 for overlap in overlaps):
            return
        if all(overlap <= SETTINGS.nms_iou for overlap in overlaps):
            kept.append(each)
    assert list(found(*corners, settings=apart)) == kept
