"""Local features: what callers get through a real channel where a catalog keeps those of its images."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest

from sightline.v1 import lens_service_pb2, product_pb2
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.search import local_features as comparing
from sightline_server.stages import photo_threads
from sightline_server.stages.local_features import evidence
from sightline_server.stages.local_features.describing import features_of, image_features
from sightline_server.stages.uncancelled import ended
from sightline_server.telemetry.stopwatch import PLACES
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import FakeEngine, FakeSnapshot, detections, serving, until
from tests.support.pictures import Pixels, blocks, encode

LIMITS = {"default_products": 3}
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
PRINT, OTHER = blocks(1), blocks(2)


@dataclass
class FakeFeatures:
    """`ports.ImageFeatures` of some products' images; raises `failure` if set."""

    of_product: Mapping[str, Pixels] = field(default_factory=dict)
    failure: Exception | None = None
    asked: list[Sequence[tuple[str, str]]] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def of(self, images: Sequence[tuple[str, str]]) -> list[LocalFeatures | None]:
        self.asked.append(images)
        self.before()
        if self.failure is not None:
            raise self.failure
        known = self.of_product
        return [image_features(Frame(known[name])) if name in known else None for name, _ in images]


def shop(failure: Exception | None = None, **images: Pixels) -> FakeSnapshot:
    """A catalog that keeps the features of some products, and has no codes."""
    return FakeSnapshot(local_features=FakeFeatures(images, failure), gtins={}, product_count=30)


def seeing(*boxes: Any) -> FakeEngine:
    engine = FakeEngine()
    rows = [(each, 0.875 - place / 8, 0) for place, each in enumerate(boxes)]
    engine.models["detector"].usual = lambda parts: detections(len(parts), *rows)
    return engine


def photo() -> bytes:
    """A square photo: the print to the left, another one to the right, on grey."""
    pixels = np.full((520, 520, 3), 120, np.uint8)
    pixels[140:380, 10:250] = PRINT
    pixels[140:380, 270:510] = OTHER
    return encode(pixels, "JPEG", quality=92)


def fail() -> None:
    """Raises an error that nothing else holds."""
    raise ValueError("a file")


def shown(event: lens_service_pb2.SearchResponse) -> list[str]:
    return [each.product.id for each in event.results.products]


def reason_in(product: product_pb2.RankedProduct) -> product_pb2.Reason | None:
    """The reason that points in common are."""
    kind = product_pb2.REASON_KIND_LOCAL_FEATURES
    return next((reason for reason in product.reasons if reason.kind == kind), None)


async def test_a_product_whose_print_is_on_the_object_rises() -> None:
    index = shop(p1=PRINT, p2=OTHER)
    async with serving(engine=seeing(LEFT, RIGHT), index=index, limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert kinds(events) == ["accepted", "detected", "results", "results", "done"]
        assert [shown(event) for event in events[2:4]] == [["p1", "p0", "p2"], ["p0", "p2", "p1"]]
        first, second = events[2].results.products[:2]
        reason = reason_in(first)
        assert reason is not None
        assert reason.contribution == pytest.approx(0.2, abs=0.1)
        assert "points of its image are on the object" in reason.text
        assert first.score == pytest.approx(sum(each.contribution for each in first.reasons))
        assert first.similarity == pytest.approx(0.8)
        assert reason_in(second) is None
        done = events[-1].done
        assert done.timings.local_features_ms > 0
        assert list(done.skipped) == []
        assert served.value("feature_checks_total", outcome="matched") == 2
        assert served.value("stage_seconds_count", stage="local_features") == 1


async def test_colours_move_products_where_the_settings_weigh_them(monkeypatch: pytest.MonkeyPatch) -> None:
    red, green = (np.full((200, 200, 3), colour, np.uint8) for colour in ((200, 30, 30), (30, 160, 40)))
    for weight, expected in ((0.3, ["p1", "p0", "p2"]), (0.0, ["p0", "p1", "p2"])):
        if not weight:
            monkeypatch.setattr(evidence, "colours_of", None)
        index = shop(p0=green, p1=red)
        settings = {"colour_contribution": weight}
        async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, local_features=settings) as served:
            events = await events_of(served.search(asked(photo=encode(red))))
            assert shown(events[2]) == expected
            best = events[2].results.products[0]
            colour = [each for each in best.reasons if each.kind == product_pb2.REASON_KIND_COLOUR]
            assert [each.contribution for each in colour] == pytest.approx([weight / 2] if weight else [], abs=0.01)
            assert best.score == pytest.approx(sum(each.contribution for each in best.reasons))
            assert served.value("feature_checks_total", outcome="unmatched") == 1


async def test_the_nearest_products_alone_are_compared_with_their_closest_images() -> None:
    index = shop(p1=PRINT)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, local_features={"most_products": 4}) as served:
        await events_of(served.search(asked(photo=photo())))
    assert index.local_features is not None
    assert index.local_features.asked == [[(f"p{n}", f"p{n}.jpg") for n in range(4)]]  # type: ignore[attr-defined]


async def test_as_many_neighbours_are_searched_as_are_compared() -> None:
    index = shop(p19=PRINT)
    ranking = {"extra_candidates": 0}
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, ranking=ranking) as served:
        await events_of(served.search(asked(photo=photo())))
        assert served.value("feature_checks_total", outcome="matched") == 1


async def test_of_a_whole_photo_the_middle_is_compared() -> None:
    index = shop(p1=PRINT)
    pixels = np.full((520, 520, 3), 120, np.uint8)
    pixels[140:380, 140:380] = PRINT
    async with serving(engine=seeing(), index=index, limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=encode(pixels))))
        assert events[1].detected.objects[0].source == lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO
        assert shown(events[2])[0] == "p1"


async def test_an_object_without_texture_or_with_another_print_keeps_its_order() -> None:
    index = shop(p1=PRINT, p2=PRINT)
    plain = np.full((96, 96, 3), 120, np.uint8)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS) as served:
        for sent in (encode(plain), encode(np.tile(blocks(5), (2, 2, 1)))):
            events = await events_of(served.search(asked(photo=sent)))
            assert shown(events[2]) == ["p0", "p1", "p2"]
            assert list(events[-1].done.skipped) == []
        assert served.value("feature_checks_total", outcome="unmatched") == 2


@pytest.mark.parametrize(
    ("index", "parts"),
    [
        (FakeSnapshot(gtins={}), {}),
        (shop(p1=PRINT), {"local_features": {"enabled": False}}),
        (shop(p1=PRINT), {"catalog": {"local_features": False}}),
        (shop(p1=PRINT), {"catalogs": {"default": {"path": "/x", "local_features": False}}}),
    ],
    ids=["none kept", "switched off", "switched off for this catalog", "switched off by its name"],
)
async def test_a_search_without_the_comparison_does_nothing_of_it(
    index: FakeSnapshot, parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "object_features", None)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, **parts) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert (events[-1].done.timings.local_features_ms, list(events[-1].done.skipped)) == (0, [])
        assert served.value("stage_seconds_count", stage="local_features") == 0
        outcomes = ("matched", "unmatched", "skipped", "failed")
        assert [served.value("feature_checks_total", outcome=each) for each in outcomes] == [0] * 4


async def test_one_catalog_can_compare_where_the_others_do_not() -> None:
    parts: dict[str, Any] = {"local_features": {"enabled": False}, "catalog": {"local_features": True}}
    async with serving(engine=seeing(LEFT), index=shop(p1=PRINT), limits=LIMITS, **parts) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2])[0] == "p1"


async def test_a_product_of_a_code_is_not_compared() -> None:
    index = FakeSnapshot(gtins={4006381333931: (40,)}, local_features=FakeFeatures({"p1": PRINT}))
    from load_tests.codes.rendering import CodeShot, code_photo

    coded = code_photo(CodeShot("EAN-13", "4006381333931", 2.0, 20, 0.25, 0.5), width=640, height=640)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=coded)))
        assert shown(events[2])[0] == "p40"
        assert events[-1].done.timings.local_features_ms == 0
    assert index.local_features.asked == []  # type: ignore[union-attr]


async def test_with_a_near_deadline_the_comparison_is_skipped_and_the_answer_says_so() -> None:
    settings = {"min_time_left_s": 1000}
    index = shop(p1=PRINT)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, local_features=settings) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2]) == ["p0", "p1", "p2"]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES]
        assert served.value("feature_checks_total", outcome="skipped") == 1


async def test_objects_beyond_the_limit_are_answered_without_the_comparison() -> None:
    index = shop(p1=PRINT, p2=OTHER)
    async with serving(
        engine=seeing(LEFT, RIGHT), index=index, limits=LIMITS, local_features={"most_objects": 1}
    ) as served:
        events = await events_of(served.search(asked(photo=photo())))
        assert [shown(event) for event in events[2:4]] == [["p1", "p0", "p2"], ["p0", "p1", "p2"]]
        assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES]
        outcomes = [served.value("feature_checks_total", outcome=each) for each in ("matched", "skipped")]
        assert outcomes == [1, 1]


async def test_objects_of_a_second_round_count_as_those_of_the_photo() -> None:
    for most, further in ((2, ["p2", "p0", "p1"]), (1, ["p0", "p1", "p2"])):
        index = shop(p1=PRINT, p2=OTHER)
        settings = {"most_objects": most, "contribution": 0.5}
        async with serving(engine=seeing(LEFT), index=index, limits=LIMITS, local_features=settings) as served:
            rows: Any = ([(LEFT, 0.875, 0)], [], [((0.2, 0.1, 0.9, 0.9), 0.5, 0)], [], [], [])
            served.engine.models["detector"].replies = [detections(1, *each) for each in rows]
            events = await events_of(served.search(asked(photo=photo(), look_closer=True)))
            assert kinds(events) == ["accepted", "detected", "results", "detected", "results", "done"]
            assert [shown(events[2]), shown(events[4])] == [["p1", "p0", "p2"], further]
            assert bool(events[-1].done.skipped) == (most == 1)


async def test_a_comparison_that_fails_costs_the_reason_alone(caplog: pytest.LogCaptureFixture) -> None:
    index = shop(ValueError("the secret of a file"), p1=PRINT)
    with caplog.at_level(logging.DEBUG):
        async with serving(engine=seeing(LEFT), index=index, limits=LIMITS) as served:
            events = await events_of(served.search(asked(photo=photo())))
            assert kinds(events) == ["accepted", "detected", "results", "done"]
            assert shown(events[2]) == ["p0", "p1", "p2"]
            assert list(events[-1].done.skipped) == [lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES]
            assert served.value("feature_checks_total", outcome="failed") == 1
            metrics = generate_latest(served.metrics.registry).decode()
    assert "local features not compared: ValueError" in caplog.text
    assert "secret" not in caplog.text + metrics + str(events)


async def test_a_box_of_the_request_is_compared_by_itself() -> None:
    async with serving(engine=seeing(LEFT), index=shop(p1=PRINT, p2=OTHER), limits=LIMITS) as served:
        events = await events_of(served.search(asked(photo=photo(), regions=[box(*RIGHT)])))
        assert shown(events[2]) == ["p0", "p2", "p1"]


async def test_a_call_that_is_cancelled_while_it_compares_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, began, goes_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    index = shop(p1=PRINT)
    assert isinstance(index.local_features, FakeFeatures)

    def slow() -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(goes_on.wait(), loop).result(60)

    async def left(running: asyncio.Future[Any]) -> None:
        goes_on.set()
        await ended(running)

    index.local_features.before = slow
    # The thread runs until the server knows that the call was cancelled; if it ended earlier, the call would go on.
    monkeypatch.setattr(photo_threads, "ended", left)
    async with serving(engine=seeing(LEFT), index=index, limits=LIMITS) as served:
        call = served.search(asked(photo=photo()))
        await began.wait()
        call.cancel()
        await served.gone()
        assert served.value("left_calls_total", stage="local_features", moment="in") == 1
        assert sum(served.value("left_calls_total", stage=stage, moment=moment) for stage, moment in PLACES) == 1
        events = await events_of(served.search(asked(photo=photo())))
        assert shown(events[2])[0] == "p1"


@pytest.mark.parametrize("failing", [False, True])
async def test_the_pixels_and_features_of_a_photo_end_with_its_call(
    failing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = shop(p1=PRINT)
    assert isinstance(index.local_features, FakeFeatures)
    index.local_features.before = fail if failing else index.local_features.before
    alive: list[weakref.ref[Any]] = []

    def noted(frame: Frame, part: Box) -> LocalFeatures:
        found = features_of(frame, part)
        alive.extend(map(weakref.ref, (frame.pixels, found.points, found.descriptors)))
        return found

    monkeypatch.setattr(evidence, "features_of", noted)
    gc.disable()
    try:
        async with serving(engine=seeing(LEFT), index=index, limits=LIMITS) as served:
            await events_of(served.search(asked(photo=photo())))
            await served.gone()
            assert len(alive) == 3
            await until(lambda: all(each() is None for each in alive))
    finally:
        gc.enable()
