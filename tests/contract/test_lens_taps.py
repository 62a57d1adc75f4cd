"""Taps through a real channel: how each box was found, and that nothing grows on people and in other searches."""

import asyncio
import threading
from typing import Any

import cv2
import grpc
import pytest

from sightline.v1 import geometry_pb2
from sightline.v1 import lens_service_pb2 as pb
from sightline_server.search import look
from sightline_server.stages.grow import grown
from tests.support.asking import asked, box, events_of
from tests.support.lens import Served, detections, failed, serving, until
from tests.support.pictures import Pixels, encode, exif, gradient

NOTHING = detections(1)
GROW = {"grow_taps": True}
LAMP, PERSON = (0.7, 0.7, 0.9, 0.9), (0.25, 0.0, 0.75, 1.0)


def ball() -> Pixels:
    """A dark ball on a pale ground, in the middle of the upper left quarter."""
    pixels = (gradient(200, 200) // 8 + 200).astype("uint8")
    cv2.circle(pixels, (50, 50), 24, (20, 30, 90), -1)
    return pixels


PHOTO = encode(ball(), "PNG")


def tap(x: float, y: float) -> geometry_pb2.Region:
    """A tap."""
    return geometry_pb2.Region(tap=geometry_pb2.Point(x=x, y=y))


async def tapped(served: Served, answer: Any, *regions: geometry_pb2.Region) -> list[pb.DetectedObject]:
    """The objects of a search with `regions` for which the detector gives `answer`."""
    served.engine.models["detector"].replies = [answer]
    events = await events_of(served.search(asked(photo=PHOTO, regions=regions)))
    return list(events[1].detected.objects)


async def test_an_answer_says_how_each_box_was_found() -> None:
    async with serving(detection=GROW) as served:
        answer = detections(1, (LAMP, 0.75, 1), ((0.1, 0.7, 0.3, 0.9), 0.125, 0))
        regions = tap(0.8, 0.8), tap(0.2, 0.8), tap(0.27, 0.25), tap(0.5, 0.5), box(0.1, 0.1, 0.3, 0.3)
        lamp, faint, round_one, square, own = await tapped(served, answer, *regions)
        assert (lamp.tap_box, lamp.label) == (pb.TAP_BOX_DETECTION, "vase")
        assert (faint.tap_box, faint.label, faint.score) == (pb.TAP_BOX_DETECTION, "object", 0.125)
        assert (round_one.tap_box, round_one.label, round_one.score) == (pb.TAP_BOX_GROWN, "", 0.0)
        corners = round_one.box.x_min, round_one.box.y_min, round_one.box.x_max, round_one.box.y_max
        assert corners == pytest.approx((0.13, 0.13, 0.37, 0.37), abs=0.04)
        assert square.tap_box in (pb.TAP_BOX_SQUARE, pb.TAP_BOX_GROWN)
        assert (own.tap_box, own.source) == (pb.TAP_BOX_UNSPECIFIED, pb.OBJECT_SOURCE_BOX)
        assert all(each.source == pb.OBJECT_SOURCE_TAP for each in (lamp, faint, round_one, square))


async def test_taps_are_on_the_upright_photo() -> None:
    """EXIF turns the photo clockwise, so that the ball is in the upper right quarter."""
    async with serving(detection=GROW) as served:
        served.engine.models["detector"].replies = [NOTHING]
        photo = encode(ball(), "PNG", exif=exif(6))
        events = await events_of(served.search(asked(photo=photo, regions=[tap(0.75, 0.25), tap(1, 1), tap(0, 0)])))
        found, *at_corners = events[1].detected.objects
        corners = found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max
        assert found.tap_box == pb.TAP_BOX_GROWN
        assert corners == pytest.approx((0.63, 0.13, 0.87, 0.37), abs=0.04)
        first, last = at_corners
        assert (first.box.x_max, first.box.y_max) == pytest.approx((1, 1))
        assert (last.box.x_min, last.box.y_min) == pytest.approx((0, 0))


@pytest.mark.parametrize(("x", "y"), [(1.001, 0.5), (0.5, -1e-6), (float("nan"), 0.5), (0.5, float("inf"))])
async def test_a_tap_outside_of_the_photo_is_refused(x: float, y: float) -> None:
    async with serving(detection=GROW) as served:
        refusal = await failed(served.search(asked(photo=PHOTO, regions=[tap(0.5, 0.5), tap(x, y)])))
        assert (refusal.events, refusal.code) == ([], grpc.StatusCode.INVALID_ARGUMENT)
        assert refusal.details["BadRequest"].field_violations[0].field == "regions[1].tap"
        assert not any(figure in str(refusal) for figure in ("1.001", "nan", "inf", "1e-06"))


async def test_a_call_that_is_cancelled_while_a_tap_grows_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def waiting(*arguments: Any) -> Any:
        begun.set()
        go_on.wait(10)
        return grown(*arguments)

    async with serving(detection=GROW) as served:
        with monkeypatch.context() as patch:
            patch.setattr(look, "grown", waiting)
            served.engine.models["detector"].replies = [NOTHING]
            call = served.search(asked(photo=PHOTO, regions=[tap(0.25, 0.25)]))
            await until(begun.is_set)
            call.cancel()
            go_on.set()
            await asyncio.wait_for(served.gone(), 10)
        assert served.value("in_flight") == 0
        (own,) = await tapped(served, NOTHING, tap(0.25, 0.25))
        assert own.tap_box == pb.TAP_BOX_GROWN


async def test_a_tap_that_nothing_covers_is_the_square_by_default() -> None:
    async with serving(detection={"tap_min_score": 1.0}) as served:
        answer = detections(1, ((0.1, 0.7, 0.3, 0.9), 0.125, 0))
        for item in await tapped(served, answer, tap(0.27, 0.25), tap(0.2, 0.8)):
            assert (item.tap_box, item.label) == (pb.TAP_BOX_SQUARE, "")
            assert item.box.x_max - item.box.x_min == pytest.approx(0.3)


async def test_a_tap_on_a_person_gets_the_square_and_no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "grown", None)
    async with serving(detection=GROW) as served:
        served.engine.models["detector"].replies = [detections(1, (PERSON, 0.75, 2))]
        events = await events_of(served.search(asked(photo=PHOTO, regions=[tap(0.3, 0.25)])))
        (item,) = events[1].detected.objects
        assert item.tap_box == pb.TAP_BOX_SQUARE
        assert events[2].failure.reason == pb.FAILURE_REASON_PERSON
        assert served.engine.models["embedder"].batches == []


async def test_a_search_without_taps_does_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "grown", None)
    monkeypatch.setattr(look, "with_unsure", None)
    async with serving(detection=GROW) as served:
        events = await events_of(served.search(asked(photo=PHOTO)))
        assert [each.tap_box for each in events[1].detected.objects] == [pb.TAP_BOX_UNSPECIFIED] * 2
        (own,) = await tapped(served, NOTHING, box(0.1, 0.1, 0.3, 0.3))
        assert own.tap_box == pb.TAP_BOX_UNSPECIFIED


async def test_growing_runs_on_a_photo_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def noted(*arguments: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            threads.append(True)
        return grown(*arguments)

    monkeypatch.setattr(look, "grown", noted)
    async with serving(detection=GROW) as served:
        await tapped(served, NOTHING, tap(0.27, 0.25))
        assert threads == [True]
        assert served.value("stage_seconds_count", stage="detect") == 1


async def test_objects_without_a_class_are_there_where_the_settings_say_so() -> None:
    answer = detections(1, (LAMP, 0.75, 1), ((0.1, 0.1, 0.4, 0.4), 0.125, 0))
    for lowest, labels in ((0.0, ["vase"]), (0.1, ["vase", "object"]), (0.2, ["vase"])):
        async with serving(detection={"unsure_min_score": lowest}) as served:
            objects = await tapped(served, answer)
            assert [each.label for each in objects] == labels
            assert all(each.source == pb.OBJECT_SOURCE_DETECTOR for each in objects)
