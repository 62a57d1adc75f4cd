"""People are never searched: what callers get through a real channel when a made-up detector sees people."""

import logging
from typing import Any

import pytest

from sightline.v1 import geometry_pb2, lens_service_pb2
from sightline_server.domain.models import DetectorSpec
from sightline_server.stages.redact import GREY
from tests.support.asking import asked, box, events_of, kinds
from tests.support.lens import CHAIR, FakeEngine, detections, serving

PERSON, FACE, BAG = (0.25, 0.0, 0.75, 1.0), (0.375, 0.0, 0.625, 0.25), (0.5, 0.5, 0.75, 0.75)
CHAIR_ROW, VASE_ROW, PERSON_ROW = (CHAIR, 0.75, 0), (BAG, 0.5, 1), (PERSON, 0.875, 2)


def tap(x: float, y: float) -> geometry_pb2.Region:
    """A tap as a region."""
    return geometry_pb2.Region(tap=geometry_pb2.Point(x=x, y=y))


def seeing(*rows: Any) -> FakeEngine:
    """An engine whose detector finds the same in every photo."""
    engine = FakeEngine()
    engine.models["detector"].usual = lambda parts: detections(len(parts), *rows)
    return engine


@pytest.mark.parametrize("region", [box(*FACE), box(*PERSON), tap(0.5, 0.25)], ids=["face", "person", "tap"])
async def test_a_region_on_a_person_fails_alone_and_is_never_embedded(region: geometry_pb2.Region) -> None:
    async with serving(engine=seeing(PERSON_ROW)) as served:
        events = await events_of(served.search(asked(regions=[region, box(0.0, 0.0, 0.125, 0.125)])))
        assert kinds(events) == ["accepted", "detected", "failure", "results", "done"]
        assert [each.object_id for each in events[1].detected.objects] == ["o1", "o2"]
        failure = events[2].failure
        assert (failure.object_id, failure.reason) == ("o1", lens_service_pb2.FAILURE_REASON_PERSON)
        assert "people are not searched" in failure.message
        assert events[3].results.object_id == "o2"
        assert served.engine.models["embedder"].batches == [1]
        assert served.value("objects_total", outcome="person") == 1
        assert served.value("objects_total", outcome="searched") == 1
        assert events[4].done.notice == lens_service_pb2.NOTICE_UNSPECIFIED


async def test_regions_that_are_all_on_people_need_neither_embedder_nor_index() -> None:
    async with serving(engine=seeing(PERSON_ROW)) as served:
        events = await events_of(served.search(asked(regions=[box(*FACE), tap(0.5, 0.5)])))
        assert kinds(events) == ["accepted", "detected", "failure", "failure", "done"]
        assert served.engine.models["embedder"].batches == served.index.queries == []


async def test_a_photo_of_people_only_has_no_objects_and_a_notice() -> None:
    async with serving(engine=seeing(PERSON_ROW)) as served:
        events = await events_of(served.search(asked()))
        assert kinds(events) == ["accepted", "detected", "done"]
        assert not events[1].detected.objects
        assert events[2].done.notice == lens_service_pb2.NOTICE_PERSON_ONLY
        assert served.engine.models["embedder"].batches == served.index.queries == []


async def test_a_bag_in_the_box_of_a_person_is_searched() -> None:
    async with serving(engine=seeing(VASE_ROW, PERSON_ROW)) as served:
        events = await events_of(served.search(asked(regions=[box(*BAG), tap(0.625, 0.625), box(*FACE)])))
        assert [(event.WhichOneof("event"), getattr(event, event.WhichOneof("event") or "").object_id)
                for event in events[2:5]] == [("failure", "o3"), ("results", "o1"), ("results", "o2")]  # fmt: skip
        events = await events_of(served.search(asked()))
        assert [each.label for each in events[1].detected.objects] == ["vase"]


async def test_products_beside_people_are_searched_as_ever() -> None:
    async with serving(engine=seeing((CHAIR, 0.75, 0), ((0.625, 0.0, 1.0, 1.0), 0.875, 2))) as served:
        events = await events_of(served.search(asked()))
        assert [each.label for each in events[1].detected.objects] == ["chair"]
        assert kinds(events) == ["accepted", "detected", "results", "done"]


async def test_the_person_on_a_sofa_is_grey_before_anything_of_the_photo_is_embedded() -> None:
    half = (0.5, 0.0, 1.0, 0.5)
    for detection, share in (({}, 1.0), ({"redact_people": False}, 0.0)):
        async with serving(
            engine=seeing(((0.0, 0.0, 1.0, 1.0), 0.75, 0), (half, 0.875, 2)), detection=detection
        ) as served:
            events = await events_of(served.search(asked(regions=[box(0.0, 0.0, 1.0, 1.0), box(0.0, 0.5, 0.5, 1.0)])))
            assert events[1].detected.redacted == share
            whole, without = served.engine.models["embedder"].parts
            size = whole.shape[0] // 2
            # Resizing mixes the pixels at the edge of what is grey with those next to it.
            grey = (whole[: size - 2, size + 2 :] == GREY).all(axis=-1)
            assert grey.mean() == share
            assert not (without == GREY).all(axis=-1).any()


async def test_a_photo_full_of_people_is_not_searched_where_the_settings_say_so() -> None:
    row = ((0.625, 0.0, 1.0, 1.0), 0.875, 2)
    async with serving(engine=seeing((CHAIR, 0.75, 0), row), detection={"most_people_share": 0.3}) as served:
        events = await events_of(served.search(asked()))
        assert kinds(events) == ["accepted", "detected", "done"]
        assert events[2].done.notice == lens_service_pb2.NOTICE_PERSON_ONLY
        events = await events_of(served.search(asked(regions=[box(*CHAIR)])))
        assert events[2].failure.reason == lens_service_pb2.FAILURE_REASON_PERSON
        assert served.engine.models["embedder"].batches == []


async def test_the_log_says_at_the_start_that_people_are_not_greyed_out(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(detection={"redact_people": False}):
        pass
    assert any("detection.redact_people is off" in each.message for each in caplog.records)


async def test_without_person_labels_boxes_skip_the_detector_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(engine=seeing(PERSON_ROW), detection={"person_labels": []}) as served:
        events = await events_of(served.search(asked(regions=[box(*FACE)])))
        assert kinds(events) == ["accepted", "detected", "results", "done"]
        assert served.engine.models["detector"].batches == []
    assert [each.levelno for each in caplog.records if "people in photos are searched" in each.message] == [
        logging.WARNING
    ]


async def test_a_detector_that_knows_no_people_is_not_asked_about_boxes(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    engine.detector = DetectorSpec("tiny-detector", "1", 64, 64, 8, ("chair", "vase"), sha256="d" * 64)
    async with serving(engine=engine) as served:
        await events_of(served.search(asked(regions=[box(*FACE)])))
        assert served.engine.models["detector"].batches == []
    assert any("people in photos are searched" in each.message for each in caplog.records)
