"""The whole photo as one more object, through a real channel: where the detector is not sure, without its people."""

import numpy as np

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.stages.redact import GREY
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import CHAIR, VASE, FakeEngine, detections, serving

SOURCES = [pb.OBJECT_SOURCE_DETECTOR, pb.OBJECT_SOURCE_DETECTOR, pb.OBJECT_SOURCE_WHOLE_PHOTO]


async def test_the_whole_photo_is_the_last_object_where_nothing_is_sure() -> None:
    for below, objects in ((0.8, 3), (0.75, 2), (0.0, 2)):
        async with serving(detection={"whole_photo_below": below}) as served:
            events = await events_of(served.search(asked()))
            assert [each.source for each in events[1].detected.objects] == SOURCES[:objects]
            assert kinds(events) == ["accepted", "detected", *["results"] * objects, "done"]
            assert [event.results.object_id for event in events[2:-1]] == [f"o{n}" for n in range(1, objects + 1)]
            assert served.engine.models["embedder"].batches == [objects]


async def test_a_person_in_the_whole_photo_is_grey() -> None:
    engine = FakeEngine()
    rows = ((CHAIR, 0.75, 0), (VASE, 0.5, 1), ((0.0, 0.0, 0.375, 0.375), 0.875, 2))
    detection = {"whole_photo_below": 0.8, "person_photo_share": 0.2}
    engine.models["detector"].usual = lambda parts: detections(len(parts), *rows)
    async with serving(engine=engine, detection=detection) as served:
        events = await events_of(served.search(asked()))
        assert events[1].detected.redacted == 1
        assert [each.source for each in events[1].detected.objects] == SOURCES
        whole = served.engine.models["embedder"].parts[-1]
        grey = (whole == GREY).all(axis=-1)
        assert grey[:4, :4].all()
        assert np.count_nonzero(grey) < grey.size / 4
