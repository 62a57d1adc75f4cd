"""The second round: the tiles of a photo, and the objects in them that the first round has missed. Without a model."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, PhotoObject, Scene
from sightline_server.domain.models import DetectorSpec
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice
from sightline_server.stages.people import people_only
from sightline_server.stages.redact import Views
from sightline_server.stages.tiles import TILES, TileScene, further, in_photo, tile_input

SETTINGS = DetectionSettings()
FRAME = Frame(np.zeros((100, 200, 3), np.uint8))
SOFA = PhotoObject("o1", Box(0.0, 0.5, 0.9, 1.0), ObjectSource.DETECTOR, "sofa", 0.9)
PERSON = Detection(Box(0.2, 0.1, 0.6, 0.9), "person", 0.9)
LEFT, RIGHT = TILES[0], TILES[1]
FIRST = Choice((SOFA,))


def cup(x: float, y: float, score: float = 0.5, size: float = 0.1) -> Detection:
    """A cup with its upper left corner at a point of the photo."""
    return Detection(Box(x, y, x + size, y + size), "cup", score)


def tile(*products: Detection, people: tuple[Detection, ...] = ()) -> TileScene:
    """The scene of a tile."""
    return TileScene(products, people)


def added(*tiles: TileScene, first: Choice = FIRST, most: int = 8, **settings: Any) -> list[PhotoObject]:
    """The further objects of a photo that shows a sofa."""
    return list(further(first, tiles, most, DetectionSettings(**settings)).choice.objects)


@given(st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_a_photo_is_well_inside_a_tile(x: float, y: float) -> None:
    margin = 0.05
    low, high = (max(0.0, v - margin) for v in (x, y)), (min(1.0, v + margin) for v in (x, y))
    corners = (Point(*low), Point(*high))
    assert any(all(each.covers(corner) for corner in corners) for each in TILES)


def test_a_detection_of_a_tile_gets_its_place_in_the_photo() -> None:
    scene = Scene(
        (Detection(Box(0.25, 0.25, 0.5, 0.5), "cup", 0.5),), (Detection(Box(0.0, 0.0, 0.5, 1.0), "man", 0.6),)
    )
    found = in_photo(scene, RIGHT, FRAME)
    assert (found.products[0].label, found.products[0].score) == ("cup", 0.5)
    box = found.products[0].box
    assert (box.x_min, box.y_min, box.x_max, box.y_max) == pytest.approx((0.55, 0.15, 0.7, 0.3))
    person = found.people[0].box
    assert (person.x_min, person.y_min, person.x_max, person.y_max) == pytest.approx((0.4, 0.0, 0.7, 0.6))


@pytest.mark.parametrize(
    ("box", "at_edge", "kept"),
    [
        (Box(0.1, 0.1, 0.9, 0.9), LEFT, True),
        (Box(0.0, 0.0, 0.9, 0.9), LEFT, True),
        (Box(0.1, 0.1, 1.0, 0.9), LEFT, False),
        (Box(0.1, 0.1, 0.9, 0.995), LEFT, False),
        (Box(0.0, 0.1, 0.9, 0.9), RIGHT, False),
        (Box(0.1, 0.0, 1.0, 0.9), RIGHT, True),
        (Box(0.1, 0.0, 0.9, 0.9), TILES[4], False),
    ],
)
def test_a_product_that_may_go_on_beyond_its_tile_is_left_out(box: Box, at_edge: Box, kept: bool) -> None:
    scene = Scene((Detection(box, "cup", 0.5),), (Detection(box, "person", 0.5),))
    found = in_photo(scene, at_edge, FRAME)
    assert len(found.products) == kept
    assert len(found.people) == 1, "a part of a person is a person"


def test_the_detector_sees_the_pixels_of_the_tile() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:60, 80:] = 200
    spec = DetectorSpec("tiny-detector", "1", 64, 64, 8, ("cup",))
    seen = tile_input(Frame(pixels), RIGHT, spec)
    assert seen.pixels.shape == (64, 64, 3)
    assert (seen.placement.inner_width, seen.placement.inner_height) == (64, 32)
    assert (seen.pixels[16:48] == 200).all()


def test_further_objects_are_numbered_after_the_first_ones_best_first() -> None:
    objects = added(tile(cup(0.1, 0.1, 0.5)), tile(cup(0.5, 0.2, 0.75)))
    assert [(each.object_id, each.score, each.source) for each in objects] == [
        ("o2", 0.75, ObjectSource.DETECTOR),
        ("o3", 0.5, ObjectSource.DETECTOR),
    ]


def test_what_was_sent_and_what_two_tiles_show_is_one_object() -> None:
    sofa = Detection(Box(0.05, 0.5, 0.9, 1.0), "couch", 0.95)
    assert [each.score for each in added(tile(sofa, cup(0.1, 0.1)), tile(cup(0.11, 0.1, 0.75)))] == [0.75]


def test_an_object_on_another_one_is_a_further_object() -> None:
    assert len(added(tile(cup(0.5, 0.6)))) == 1


def test_no_more_objects_than_there_is_room_for_and_none_that_is_too_small() -> None:
    cups = [cup(x / 10, 0.1, 0.3 + x / 20) for x in range(8)]
    assert [each.score for each in added(tile(*cups), most=3)] == pytest.approx([0.65, 0.6, 0.55])
    assert added(tile(cup(0.1, 0.1, size=0.02))) == []
    assert len(added(tile(cup(0.1, 0.1, size=0.02)), min_area=0.0)) == 1


def test_nothing_on_a_person_is_searched_not_even_what_is_carried() -> None:
    bag = cup(0.3, 0.3)
    assert added(tile(bag, people=(PERSON,))) == []
    assert added(tile(bag), first=Choice((SOFA,), scene=Scene(people=(PERSON,)))) == []
    assert len(added(tile(cup(0.7, 0.3), people=(PERSON,)))) == 1


def test_the_people_of_both_looks_are_hidden_and_only_new_ones_are_counted() -> None:
    first = Choice((SOFA,), scene=Scene(people=(PERSON,)))
    torso = Detection(Box(0.25, 0.3, 0.55, 0.6), "person", 0.5)
    other = Detection(Box(0.75, 0.1, 0.95, 0.5), "person", 0.5)
    again = Detection(Box(0.76, 0.12, 0.95, 0.5), "person", 0.5)
    found = further(first, [tile(people=(torso, other)), tile(cup(0.62, 0.1), people=(again,))], 8, SETTINGS)
    assert found.people == 1
    white = Frame(np.full((100, 100, 3), 255, np.uint8))
    seen = Views(white, found.choice.hidden).of(found.choice.objects[0].box).pixels
    assert (seen[12:88, 22:58] == 128).all()
    assert (seen[12:48, 77:94] == 128).all()
    assert (seen[60:, 65:] == 255).all()


def test_people_are_not_hidden_where_the_settings_say_so() -> None:
    found = further(FIRST, [tile(cup(0.7, 0.3), people=(PERSON,))], 8, DetectionSettings(redact_people=False))
    assert (found.choice.hidden, found.people, len(found.choice.objects)) == (None, 0, 1)


def test_a_photo_that_turns_out_to_be_full_of_people_has_no_further_objects() -> None:
    assert added(tile(cup(0.7, 0.3), people=(PERSON,)), most_people_share=0.3) == []
    assert len(added(tile(cup(0.7, 0.3), people=(PERSON,)), most_people_share=0.4)) == 1


def test_a_photo_of_people_is_one_where_nothing_was_searched_because_of_them() -> None:
    vase = Detection(Box(0.7, 0.2, 0.9, 0.5), "vase", 0.7)
    far = Detection(Box(0.1, 0.1, 0.2, 0.2), "person", 0.9)
    assert people_only(Scene((), (PERSON,)), SETTINGS)
    assert not people_only(Scene((), ()), SETTINGS)
    assert not people_only(Scene((vase,), (PERSON,)), SETTINGS)
    assert not people_only(Scene((), (far,)), SETTINGS)
    assert people_only(Scene((vase,), (PERSON,)), DetectionSettings(most_people_share=0.3))
