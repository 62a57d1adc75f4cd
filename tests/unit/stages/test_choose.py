"""Regions and detections -> objects: a region comes before what the detector thinks, and people are not searched."""

from typing import Any

import numpy as np
import pytest

from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, Scene
from sightline_server.domain.request import SearchQuery
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import choose

FRAME = Frame(np.zeros((100, 200, 3), np.uint8))
SETTINGS = DetectionSettings(tap_square=0.5)
LARGE = Detection(Box(0.0, 0.0, 0.8, 0.8), "couch", 0.9)
SMALL = Detection(Box(0.2, 0.2, 0.4, 0.4), "vase", 0.5)


def query(**changes: Any) -> SearchQuery:
    plain = {
        "request_id": "r",
        "photo": b"p",
        "deadline": 1.0,
        "max_objects": 8,
        "max_products": 10,
        "min_similarity": 0.0,
    }
    return SearchQuery(**{**plain, **changes})


def test_nothing_detected_means_the_whole_photo() -> None:
    (only,) = choose(query(), FRAME, Scene(), SETTINGS).objects
    assert (only.object_id, only.box, only.source, only.label, only.score) == (
        "o1",
        Box.whole(),
        ObjectSource.WHOLE_PHOTO,
        "",
        0.0,
    )


def test_the_whole_photo_is_searched_as_well_where_nothing_is_sure() -> None:
    unsure = DetectionSettings(whole_photo_below=0.95)
    objects = choose(query(), FRAME, Scene((LARGE, SMALL)), unsure).objects
    assert [(each.object_id, each.source) for each in objects] == [
        ("o1", ObjectSource.DETECTOR),
        ("o2", ObjectSource.DETECTOR),
        ("o3", ObjectSource.WHOLE_PHOTO),
    ]
    assert objects[-1].is_whole_photo
    sure = choose(query(), FRAME, Scene((LARGE, SMALL)), DetectionSettings(whole_photo_below=0.9)).objects
    assert [each.source for each in sure] == [ObjectSource.DETECTOR] * 2


def test_the_whole_photo_takes_the_place_of_the_worst_detection_and_never_of_the_best() -> None:
    unsure = DetectionSettings(whole_photo_below=0.95)
    two = choose(query(max_objects=2), FRAME, Scene((LARGE, SMALL)), unsure).objects
    assert [each.label for each in two] == ["couch", ""]
    one = choose(query(max_objects=1), FRAME, Scene((LARGE, SMALL)), unsure).objects
    assert [each.label for each in one] == ["couch"]


def test_a_photo_with_people_is_not_searched_as_a_whole_next_to_its_products() -> None:
    unsure = DetectionSettings(whole_photo_below=0.95)
    for size, objects in ((0.1, 2), (0.3, 1)):
        person = Detection(Box(0.6, 0.6, 0.6 + size, 0.6 + size), "person", 0.9)
        assert len(choose(query(), FRAME, Scene((SMALL,), (person,)), unsure).objects) == objects


def test_the_best_detections_up_to_the_number_asked_for() -> None:
    objects = choose(query(max_objects=1), FRAME, Scene((LARGE, SMALL)), SETTINGS).objects
    assert [(each.object_id, each.label, each.source) for each in objects] == [("o1", "couch", ObjectSource.DETECTOR)]
    assert len(choose(query(), FRAME, Scene((LARGE, SMALL)), SETTINGS).objects) == 2


def test_boxes_are_searched_as_they_are() -> None:
    box = Box(0.1, 0.1, 0.2, 0.2)
    (only,) = choose(query(regions=(box,)), FRAME, Scene((LARGE,)), SETTINGS).objects
    assert (only.box, only.source, only.label, only.score) == (box, ObjectSource.BOX, "", 0.0)


def test_a_crop_is_one_object_under_the_number_that_it_has_in_its_call() -> None:
    crop = query(regions=(Box.whole(),), max_objects=1, crop=3, crops=5)
    found = choose(crop, FRAME, Scene((LARGE, SMALL)), SETTINGS)
    (only,) = found.objects
    assert (only.object_id, only.box, only.source, only.label) == ("o3", Box.whole(), ObjectSource.CROP, "")
    assert (found.on_person, found.notice, found.hidden) == (frozenset(), None, None)


@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS.model_copy(update={"most_people_share": 0.3})])
def test_a_crop_of_a_person_is_refused_under_its_number(settings: DetectionSettings) -> None:
    person = Detection(Box(0.1, 0.0, 0.9, 1.0), "person", 0.9)
    found = choose(query(regions=(Box.whole(),), crop=2, crops=2), FRAME, Scene((), (person,)), settings)
    assert found.on_person == {"o2"} == {each.object_id for each in found.objects}
    assert found.hidden is not None and len(found.hidden.people) == 1


def test_a_tap_picks_the_smallest_detection_that_covers_it() -> None:
    objects = choose(query(regions=(Point(0.3, 0.3), Point(0.1, 0.1))), FRAME, Scene((LARGE, SMALL)), SETTINGS).objects
    assert [(each.object_id, each.label, each.source, each.score) for each in objects] == [
        ("o1", "vase", ObjectSource.TAP, 0.5),
        ("o2", "couch", ObjectSource.TAP, 0.9),
    ]


def test_a_tap_that_nothing_covers_is_a_square_around_it() -> None:
    (only,) = choose(query(regions=(Point(0.5, 0.9),)), FRAME, Scene((SMALL,)), SETTINGS).objects
    # Half of the shorter edge, 50 pixels, moved inside the image.
    assert only.box == Box(0.375, 0.5, 0.625, 1.0)
    assert (only.source, only.label, only.score) == (ObjectSource.TAP, "", 0.0)


def test_regions_keep_their_order_and_number() -> None:
    regions = (Point(0.9, 0.9), Box(0.1, 0.1, 0.2, 0.2), Point(0.3, 0.3))
    objects = choose(query(regions=regions, max_objects=1), FRAME, Scene((LARGE, SMALL)), SETTINGS).objects
    assert [each.source for each in objects] == [ObjectSource.TAP, ObjectSource.BOX, ObjectSource.TAP]
    assert [each.object_id for each in objects] == ["o1", "o2", "o3"]


@pytest.mark.parametrize(
    ("regions", "needed"),
    [((), True), ((Point(0, 0),), True), ((Box.whole(),), False), ((Box.whole(), Point(0, 0)), True)],
)
def test_a_query_of_boxes_alone_does_not_itself_need_the_detector(
    regions: tuple[Box | Point, ...], needed: bool
) -> None:
    assert query(regions=regions).needs_detector is needed
