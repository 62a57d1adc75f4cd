"""Detections of low confidence: what becomes an object without a class, what a tap takes, and what may be a person."""

import numpy as np
import pytest

from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import ObjectSource, Scene, TapBox
from sightline_server.domain.models import DetectorSpec
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice, choose
from sightline_server.stages.detect import detector_input, to_scene
from sightline_server.stages.unsure import MOST_UNSURE, with_unsure
from tests.support.pictures import gradient

SPEC = DetectorSpec("detector", "1", 64, 64, 8, ("chair", "vase", "person", "dog"))
SETTINGS = DetectionSettings()
FRAME = Frame(gradient(64, 64))
PLACE = detector_input(FRAME, SPEC).placement
CHAIR, VASE = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)
Row = tuple[tuple[float, ...], float, int]


def scene(*rows: Row, lowest: float = 0.1, settings: DetectionSettings = SETTINGS) -> Scene:
    """The scene of rows (box, score, label) in a square image, with what has at least the confidence `lowest`."""
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    raw = boxes, np.array([row[1] for row in rows], np.float32), np.array([row[2] for row in rows], np.int32)
    return with_unsure(to_scene(raw, PLACE, SPEC, settings), raw, PLACE, SPEC, settings, lowest)


def chosen(found: Scene, *regions: Region, settings: DetectionSettings = SETTINGS, max_objects: int = 8) -> Choice:
    """The answer to a query with `regions` in a scene."""
    query = SearchQuery("r", b"p", 1.0, max_objects=max_objects, max_products=10, min_similarity=0.0, regions=regions)
    return choose(query, FRAME, found, settings)


def test_what_is_sure_stays_the_same_and_the_rest_has_no_class() -> None:
    rows: list[Row] = [(CHAIR, 0.75, 0), (VASE, 0.125, 1)]
    found = scene(*rows)
    assert [each.label for each in found.products] == ["chair"]
    assert [(each.label, each.score) for each in found.unsure] == [("object", 0.125)]
    assert found.unsure[0].box.iou(Box(*VASE)) > 0.99


def test_the_confidence_decides() -> None:
    assert scene((VASE, 0.125, 1), lowest=0.13).unsure == ()
    assert len(scene((VASE, 0.125, 1), lowest=0.125).unsure) == 1


@pytest.mark.parametrize("settings", [SETTINGS, DetectionSettings(min_score=0.7, person_min_score=0.7)])
def test_each_detection_is_sure_or_unsure_and_never_both(settings: DetectionSettings) -> None:
    found = scene((VASE, 0.7, 1), (CHAIR, 0.25, 0), settings=settings)
    assert len(found.products) + len(found.unsure) == 2


def test_what_overlaps_something_better_is_left_out() -> None:
    near = (0.1, 0.12, 0.4, 0.42)
    assert scene((CHAIR, 0.75, 0), (near, 0.2, 1)).unsure == ()
    assert [each.score for each in scene((CHAIR, 0.125, 0), (near, 0.2, 1)).unsure] == pytest.approx([0.2])


def test_labels_that_are_not_products_are_no_objects() -> None:
    assert scene((VASE, 0.2, 3)).unsure == ()


def test_people_are_no_objects_nor_is_what_lies_on_them() -> None:
    person, hand = (0.1, 0.1, 0.6, 0.9), (0.2, 0.3, 0.3, 0.5)
    for score in (0.2, 0.9):
        found = scene((person, score, 2), (hand, 0.2, 1))
        assert found.unsure == ()
        assert [each.label for each in (*found.people, *found.unsure_people)] == ["person"]


def test_there_are_not_too_many() -> None:
    rows: list[Row] = [((n / 20, 0.0, (n + 1) / 20, 0.5), 0.2, 0) for n in range(20)]
    assert len(scene(*rows).unsure) == MOST_UNSURE


def test_a_tap_takes_the_best_one_that_covers_it() -> None:
    wide = (0.5, 0.5, 1.0, 1.0)
    found = scene((VASE, 0.125, 1), (wide, 0.2, 0))
    (item,) = chosen(found, Point(0.7, 0.7)).objects
    assert (item.label, item.tap_box, item.source) == ("object", TapBox.DETECTION, ObjectSource.TAP)
    assert item.score == pytest.approx(0.2)
    (outside,) = chosen(found, Point(0.2, 0.2)).objects
    assert (outside.label, outside.tap_box) == ("", TapBox.SQUARE)


def test_a_tap_takes_what_is_sure_first() -> None:
    small = (0.7, 0.7, 0.8, 0.8)
    (item,) = chosen(scene((VASE, 0.75, 1), (small, 0.2, 0)), Point(0.75, 0.75)).objects
    assert (item.label, item.tap_box) == ("vase", TapBox.DETECTION)


@pytest.mark.parametrize("score", [0.2, 0.9])
def test_a_tap_where_a_person_may_be_takes_none(score: float) -> None:
    person = (0.55, 0.4, 0.7, 1.0)
    found = scene((person, score, 2), (VASE, 0.2, 1))
    assert len(found.unsure) == 1
    choice = chosen(found, Point(0.65, 0.7))
    assert choice.objects[0].tap_box is TapBox.SQUARE
    assert choice.on_person == ({"o1"} if score > 0.25 else frozenset())


def test_objects_without_a_class_come_after_the_others() -> None:
    found = scene((CHAIR, 0.75, 0), (VASE, 0.2, 1))
    objects = chosen(found).objects
    assert [(each.object_id, each.label, each.source) for each in objects] == [
        ("o1", "chair", ObjectSource.DETECTOR),
        ("o2", "object", ObjectSource.DETECTOR),
    ]
    assert [each.label for each in chosen(found, max_objects=1).objects] == ["chair"]


def test_the_whole_photo_stays_where_nothing_is_sure() -> None:
    found = scene((VASE, 0.2, 1))
    assert [each.source for each in chosen(found).objects] == [ObjectSource.DETECTOR, ObjectSource.WHOLE_PHOTO]
    assert [each.source for each in chosen(found, max_objects=1).objects] == [ObjectSource.WHOLE_PHOTO]


def test_a_photo_of_a_person_does_not_get_objects_without_a_class() -> None:
    choice = chosen(scene(((0.1, 0.1, 0.5, 0.9), 0.9, 2), (VASE, 0.2, 1)))
    assert choice.objects == ()
