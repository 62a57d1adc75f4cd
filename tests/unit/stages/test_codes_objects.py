"""Codes and the objects that they are on: the smallest one, or a new one, within the limits of the request."""

import pytest

from sightline_server.domain.events import Notice
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import Neighbour, ObjectSource, PhotoObject
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.ports import CodedProducts
from sightline_server.stages.choose import Choice
from sightline_server.stages.codes.objects import CodedChoice, MatchedCode, join
from sightline_server.stages.redact import Redaction
from tests.support.lens import FakeSnapshot

LEFT, RIGHT, INNER = Box(0.0, 0.0, 0.4, 1.0), Box(0.6, 0.0, 1.0, 1.0), Box(0.1, 0.1, 0.3, 0.3)


def code(x: float, y: float, *more: Box) -> MatchedCode:
    products = CodedProducts(FakeSnapshot(), (Neighbour(0, 0, 0.0, "p0", "", "", 0),))
    return MatchedCode((Box(x - 0.02, y - 0.02, x + 0.02, y + 0.02), *more), products)


def detected(*boxes: Box) -> Choice:
    return Choice(
        tuple(PhotoObject(f"o{n}", box, ObjectSource.DETECTOR, "chair", 0.5) for n, box in enumerate(boxes, 1))
    )


def joined(choice: Choice, *codes: MatchedCode, most: int = 8, regions: tuple[Region, ...] = ()) -> CodedChoice:
    query = SearchQuery("r", b"", 0.0, most, 5, 0.0, regions)
    return join(query, choice, codes)


def test_a_code_belongs_to_the_smallest_object_around_it() -> None:
    one = code(0.2, 0.2)
    found = joined(detected(LEFT, INNER, RIGHT), one)
    assert found.choice == detected(LEFT, INNER, RIGHT)
    assert found.codes == {"o2": (one.products,)}


def test_a_code_outside_of_all_objects_is_the_first_object() -> None:
    one = code(0.5, 0.5)
    found = joined(detected(LEFT, RIGHT), one)
    assert [(item.object_id, item.source, item.box) for item in found.choice.objects] == [
        ("o1", ObjectSource.CODE, one.boxes[0]),
        ("o2", ObjectSource.DETECTOR, LEFT),
        ("o3", ObjectSource.DETECTOR, RIGHT),
    ]
    assert found.codes == {"o1": (one.products,)}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_limit_on_objects_keeps_those_with_a_code(most: int) -> None:
    alone, right = code(0.5, 0.5), code(0.8, 0.5)
    found = joined(detected(LEFT, RIGHT), alone, right, most=most)
    assert [item.box for item in found.choice.objects] == [
        [alone.boxes[0]],
        [alone.boxes[0], RIGHT],
        [alone.boxes[0], LEFT, RIGHT],
    ][most - 1]
    assert len({item.object_id for item in found.choice.objects}) == most
    named = {item.box: found.codes.get(item.object_id) for item in found.choice.objects}
    assert named.get(RIGHT, (right.products,)) == (right.products,)
    assert named.get(LEFT) is None


def test_a_number_that_is_on_an_object_and_outside_is_no_object_of_its_own() -> None:
    found = joined(detected(LEFT, RIGHT), code(0.2, 0.5, Box(0.45, 0.4, 0.55, 0.6)))
    assert found.choice == detected(LEFT, RIGHT)
    assert set(found.codes) == {"o1"}


def test_two_codes_on_one_object_are_both_its_codes() -> None:
    first, second = code(0.2, 0.5), code(0.2, 0.8)
    assert joined(detected(LEFT), first, second).codes == {"o1": (first.products, second.products)}


def test_regions_get_codes_only_inside_of_them_and_not_on_people() -> None:
    choice = Choice(
        (PhotoObject("o1", LEFT, ObjectSource.BOX), PhotoObject("o2", RIGHT, ObjectSource.BOX)), frozenset({"o2"})
    )
    inside, outside, refused = code(0.2, 0.5), code(0.5, 0.5), code(0.8, 0.5)
    found = joined(choice, inside, outside, refused, regions=(LEFT, RIGHT))
    assert found.choice is choice
    assert found.codes == {"o1": (inside.products,)}


def test_a_photo_of_people_with_a_code_shows_the_product_and_no_notice() -> None:
    found = joined(Choice((), notice=Notice.PERSON_ONLY), code(0.5, 0.5))
    assert [item.source for item in found.choice.objects] == [ObjectSource.CODE]
    assert found.choice.notice is None
    assert joined(Choice((), notice=Notice.PERSON_ONLY)).choice.notice is Notice.PERSON_ONLY


def test_people_stay_hidden_beside_a_code() -> None:
    hidden = Redaction((Box(0.0, 0.0, 0.3, 1.0),))
    assert joined(Choice((), hidden=hidden), code(0.5, 0.5)).choice.hidden is hidden
