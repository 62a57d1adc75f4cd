"""The rule that keeps people from being searched, on made-up scenes: what is refused, and what stays searchable."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.events import Notice
from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, Scene
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice, choose
from sightline_server.stages.people import covered_share, on_person

SETTINGS = DetectionSettings()
FRAME = Frame(np.zeros((100, 100, 3), np.uint8))
PERSON = Detection(Box(0.2, 0.1, 0.6, 0.9), "person", 0.9)
BAG = Detection(Box(0.4, 0.5, 0.6, 0.7), "handbag", 0.6)
COUCH = Detection(Box(0.0, 0.5, 1.0, 1.0), "couch", 0.8)
CHAIR = Detection(Box(0.2, 0.3, 0.6, 0.9), "chair", 0.8)
VASE = Detection(Box(0.7, 0.2, 0.9, 0.5), "vase", 0.7)
FACE, DRESS = Box(0.3, 0.1, 0.5, 0.3), Box(0.2, 0.3, 0.6, 0.8)


def chosen(
    *regions: Region,
    products: tuple[Detection, ...] = (),
    people: tuple[Detection, ...] = (PERSON,),
    settings: DetectionSettings = SETTINGS,
) -> Choice:
    """The answer to a query with `regions` in such a scene."""
    query = SearchQuery("r", b"p", 1.0, max_objects=8, max_products=10, min_similarity=0.0, regions=regions)
    return choose(query, FRAME, Scene(products, people), settings)


@pytest.mark.parametrize("box", [FACE, DRESS, PERSON.box, Box(0.15, 0.05, 0.65, 0.95)], ids=str)
def test_a_box_on_a_person_or_their_clothes_is_refused(box: Box) -> None:
    choice = chosen(box)
    assert [(each.source, each.box) for each in choice.objects] == [(ObjectSource.BOX, box)]
    assert choice.on_person == {"o1"} and choice.notice is None


@pytest.mark.parametrize("box", [BAG.box, Box(0.38, 0.48, 0.6, 0.72), VASE.box, COUCH.box, Box.whole()], ids=str)
def test_a_box_on_a_carried_product_or_beside_the_person_is_searched(box: Box) -> None:
    assert chosen(box, products=(BAG, COUCH, VASE)).on_person == frozenset()


def test_a_box_on_a_bag_that_the_detector_does_not_see_is_refused() -> None:
    assert chosen(BAG.box).on_person == {"o1"}


def test_a_box_on_the_face_is_refused_although_the_person_carries_a_bag() -> None:
    assert chosen(FACE, PERSON.box, products=(BAG,)).on_person == {"o1", "o2"}


def test_a_box_on_the_chair_that_a_person_fills_is_refused() -> None:
    assert chosen(CHAIR.box, products=(CHAIR,)).on_person == {"o1"}


def test_two_people_cover_a_box_together() -> None:
    left, right = Detection(Box(0.0, 0.0, 0.3, 1.0), "person", 0.9), Detection(Box(0.3, 0.0, 0.6, 1.0), "person", 0.9)
    assert chosen(Box.whole(), people=(left,)).on_person == frozenset()
    assert chosen(Box.whole(), people=(left, right)).on_person == {"o1"}
    assert chosen(Box.whole(), people=(left, left)).on_person == frozenset()


@pytest.mark.parametrize(
    ("tap", "products", "label"),
    [
        (Point(0.4, 0.2), (), None),
        (Point(0.4, 0.6), (COUCH,), None),
        (Point(0.4, 0.6), (CHAIR,), None),
        (Point(0.5, 0.6), (BAG, COUCH), "handbag"),
        (Point(0.8, 0.8), (COUCH,), "couch"),
        (Point(0.8, 0.3), (VASE,), "vase"),
    ],
)
def test_a_tap_on_a_person_is_refused_and_one_on_a_product_is_not(
    tap: Point, products: tuple[Detection, ...], label: str | None
) -> None:
    choice = chosen(tap, products=products)
    (only,) = choice.objects
    assert choice.on_person == (frozenset() if label else {"o1"})
    assert only.label == (label or "")


def test_a_tap_on_a_face_before_a_smaller_product_is_refused() -> None:
    laptop = Detection(Box(0.0, 0.1, 0.38, 0.4), "laptop", 0.75)
    assert chosen(Point(0.35, 0.2), products=(laptop,)).on_person == {"o1"}
    assert chosen(Point(0.15, 0.2), products=(laptop,)).objects[0].label == "laptop"


def test_a_refused_tap_does_not_tell_the_box_of_the_person() -> None:
    (only,) = chosen(Point(0.4, 0.2)).objects
    assert (only.box.x_max - only.box.x_min) == pytest.approx(SETTINGS.tap_square)
    assert (only.label, only.score, only.source) == ("", 0.0, ObjectSource.TAP)


def test_a_tap_just_outside_a_person_is_refused_by_its_square() -> None:
    thin = Detection(Box(0.2, 0.0, 0.5, 1.0), "person", 0.9)
    assert chosen(Point(0.501, 0.5), people=(thin,)).on_person == frozenset()
    wide = Detection(Box(0.0, 0.0, 0.5, 1.0), "person", 0.9), Detection(Box(0.502, 0.0, 1.0, 1.0), "person", 0.9)
    assert chosen(Point(0.501, 0.5), people=wide).on_person == {"o1"}


def test_a_photo_of_people_only_has_no_objects_and_a_notice() -> None:
    for choice in (chosen(), chosen(products=(CHAIR,))):
        assert (choice.objects, choice.notice) == ((), Notice.PERSON_ONLY)


def test_nothing_of_a_photo_full_of_people_is_searched_where_the_settings_say_so() -> None:
    few, many = DetectionSettings(most_people_share=0.33), DetectionSettings(most_people_share=0.31)
    assert [each.label for each in chosen(products=(VASE,), settings=few).objects] == ["vase"]
    choice = chosen(products=(VASE,), settings=many)
    assert (choice.objects, choice.notice) == ((), Notice.PERSON_ONLY)
    choice = chosen(VASE.box, Point(0.8, 0.3), products=(VASE,), settings=many)
    assert choice.on_person == {"o1", "o2"} and [each.label for each in choice.objects] == ["", ""]


def test_products_beside_a_person_are_searched_without_a_notice() -> None:
    choice = chosen(products=(COUCH, VASE, BAG, CHAIR))
    assert [each.label for each in choice.objects] == ["couch", "vase", "handbag"]
    assert (choice.notice, choice.on_person) == (None, frozenset())


def test_a_tiny_person_does_not_stop_the_whole_photo() -> None:
    tiny = Detection(Box(0.0, 0.0, 0.1, 0.1), "person", 0.9)
    assert [each.source for each in chosen(people=(tiny,)).objects] == [ObjectSource.WHOLE_PHOTO]


def test_the_shares_are_settings() -> None:
    scene = Scene((), (Detection(Box(0.0, 0.0, 0.5, 1.0), "person", 0.9),))
    half = Box.whole()
    assert on_person(half, scene, SETTINGS)
    assert not on_person(half, scene, DetectionSettings(person_share=0.51))
    assert on_person(BAG.box, Scene((BAG,), (PERSON,)), DetectionSettings(carried_share=0.1))
    assert not on_person(BAG.box, Scene((BAG,), (PERSON,)), SETTINGS)


@st.composite
def boxes(draw: Any) -> Box:
    """Boxes on a grid of 20 x 20."""
    x_min, y_min = draw(st.integers(0, 19)), draw(st.integers(0, 19))
    x_max, y_max = draw(st.integers(x_min + 1, 20)), draw(st.integers(y_min + 1, 20))
    return Box(x_min / 20, y_min / 20, x_max / 20, y_max / 20)


def painted(box: Box, others: list[Box]) -> float:
    """The covered share by counting the cells of the grid."""
    cells = np.zeros((20, 20), bool)
    for other in others:
        cells[round(other.y_min * 20) : round(other.y_max * 20), round(other.x_min * 20) : round(other.x_max * 20)] = 1
    inside = cells[round(box.y_min * 20) : round(box.y_max * 20), round(box.x_min * 20) : round(box.x_max * 20)]
    return float(inside.mean())


@given(boxes(), st.lists(boxes(), max_size=6))
def test_the_covered_share_is_that_of_painted_cells(box: Box, others: list[Box]) -> None:
    assert covered_share(box, others) == pytest.approx(painted(box, others), abs=1e-9)


@given(boxes(), st.lists(boxes(), min_size=1, max_size=4), boxes())
def test_one_more_person_never_makes_a_box_searchable(box: Box, people: list[Box], more: Box) -> None:
    seen = [Detection(each, "person", 0.9) for each in people]
    if on_person(box, Scene((), tuple(seen)), SETTINGS):
        assert on_person(box, Scene((), (*seen, Detection(more, "person", 0.9))), SETTINGS)


@given(boxes(), st.lists(boxes(), min_size=1, max_size=3), st.lists(boxes(), max_size=3))
def test_a_box_on_a_whole_person_is_refused_whatever_else_is_seen(
    box: Box, people: list[Box], products: list[Box]
) -> None:
    scene = Scene(
        tuple(Detection(each, "vase", 0.5) for each in products),
        (Detection(box, "person", 0.9), *(Detection(each, "person", 0.9) for each in people)),
    )
    # At exactly one half, the default, half of a person may be a carried product.
    assert on_person(box, scene, DetectionSettings(carried_share=0.45))


@given(boxes(), st.lists(boxes(), max_size=4))
def test_without_people_nothing_is_refused(box: Box, products: list[Box]) -> None:
    assert not on_person(box, Scene(tuple(Detection(each, "vase", 0.5) for each in products)), SETTINGS)
