"""Searches of crops through a real channel: the events, people in crops, each bad input, grants and limits."""

import asyncio
import hashlib
import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sightline.v1 import lens_service_pb2 as pb
from sightline_client import (
    AsyncClient,
    Client,
    ClientOptions,
    FailureReason,
    InvalidRequestError,
    ObjectSource,
    PermissionDeniedError,
    PhotoTooLargeError,
    grants,
)
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.redact import GREY
from tests.support.asking import PHOTO, asked, box, events_of, kinds
from tests.support.fake_lens import ANSWER, FakeLens
from tests.support.fake_lens import serving as serving_script
from tests.support.grants import AUDIENCE, ISSUER, MARK, ConsentService, hash_of, header
from tests.support.lens import CHAIR, Failed, FakeEngine, Served, detections, failed, serving
from tests.support.pictures import encode, gradient

CODE = grpc.StatusCode
CROPS = (PHOTO, encode(gradient(48, 80)), encode(gradient(64, 32)))
PERSON, HALF = (0.0, 0.0, 1.0, 1.0), (0.5, 0.0, 1.0, 0.375)


def cut(**fields: Any) -> pb.SearchRequest:
    """A search of `CROPS`, unless `fields` say otherwise."""
    return pb.SearchRequest(**{"crops": CROPS, **fields})


def parts_hash(parts: Sequence[bytes]) -> str:
    """The claim `pht` of several parts, as docs/guide/consent.md defines it."""
    whole = b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    return urlsafe_b64encode(hashlib.sha256(whole).digest()).rstrip(b"=").decode()


def decoded(served: Served) -> float:
    """The number of calls for which decoding was begun."""
    return served.value("stage_seconds_count", stage="decode")


async def refused(served: Served, grant: str = "", metadata: Any = None, **fields: Any) -> Failed:
    """The refusal of a search before anything is decoded."""
    before = decoded(served)
    refusal = await failed(served.search(cut(grant=grant, **fields), metadata=metadata))
    assert (refusal.events, decoded(served)) == ([], before)
    return refusal


def seeing_by_call(*answers: Any) -> FakeEngine:
    """An engine whose detector sees the rows of `answers[n]` in the n-th image, in batches of any size."""
    engine = FakeEngine()
    left = list(answers)

    def usual(parts: Sequence[Any]) -> Any:
        rows = [left.pop(0) for _ in parts]
        most = max(map(len, rows))
        padded = [[*each, *[((0.0, 0.0, 0.5, 0.5), 0.0, 0)] * (most - len(each))] for each in rows]
        single = [detections(1, *each) for each in padded]
        return {name: np.concatenate([each[name] for each in single]) for name in single[0]}

    engine.models["detector"].usual = usual
    return engine


async def test_crops_have_the_events_of_a_photo_and_each_is_one_object() -> None:
    async with serving() as served:
        events = await events_of(served.search(cut(max_products=2)))
        assert kinds(events) == ["accepted", "detected", "results", "results", "results", "done"]
        objects = events[1].detected.objects
        assert [each.object_id for each in objects] == ["o1", "o2", "o3"]
        assert {each.source for each in objects} == {pb.OBJECT_SOURCE_CROP}
        assert {(each.label, each.box.x_min, each.box.x_max) for each in objects} == {("", 0.0, 1.0)}
        assert [event.results.object_id for event in events[2:5]] == ["o1", "o2", "o3"]
        assert all([each.product.id for each in event.results.products] == ["p0", "p1"] for event in events[2:5])
        assert events[-1].done.detector == "tiny-detector@dddddddddddd"
        assert sum(served.engine.models["detector"].batches) == 3, "each goes through the detector"
        assert sum(served.engine.models["embedder"].batches) == 3
        assert served.value("requests_total", method="Search", code="OK") == 1


async def test_a_crop_is_embedded_as_a_box_of_the_same_pixels_is() -> None:
    async with serving() as served:
        await events_of(served.search(asked(regions=[box(0, 0, 1, 1)])))
        await events_of(served.search(cut(crops=[PHOTO])))
        of_photo, of_crop = served.engine.models["embedder"].parts
        np.testing.assert_array_equal(of_photo, of_crop)


async def test_a_crop_is_embedded_whole_where_only_the_middle_of_photos_is() -> None:
    async with serving(detection={"whole_photo_share": 0.5}) as served:
        await events_of(served.search(cut(crops=[PHOTO])))
        await events_of(served.search(asked(regions=[box(0, 0, 1, 1)])))
        of_crop, middle = served.engine.models["embedder"].parts
        assert (of_crop != middle).any()
    async with serving() as served:
        await events_of(served.search(asked(regions=[box(0, 0, 1, 1)])))
        np.testing.assert_array_equal(of_crop, served.engine.models["embedder"].parts[0])


async def test_a_crop_of_a_person_fails_alone_and_is_never_embedded() -> None:
    chair, person = [(CHAIR, 0.75, 0)], [(PERSON, 0.875, 2)]
    async with serving(engine=seeing_by_call(chair, person, chair)) as served:
        events = await events_of(served.search(cut()))
        assert kinds(events) == ["accepted", "detected", "failure", "results", "results", "done"]
        assert [each.object_id for each in events[1].detected.objects] == ["o1", "o2", "o3"]
        failure = events[2].failure
        assert (failure.object_id, failure.reason) == ("o2", pb.FAILURE_REASON_PERSON)
        assert [event.results.object_id for event in events[3:5]] == ["o1", "o3"]
        assert sum(served.engine.models["embedder"].batches) == 2
        assert events[-1].done.notice == pb.NOTICE_UNSPECIFIED


async def test_crops_that_are_all_people_need_neither_embedder_nor_index() -> None:
    person = [(PERSON, 0.875, 2)]
    async with serving(engine=seeing_by_call(*[person] * 3)) as served:
        assert kinds(await events_of(served.search(cut()))) == ["accepted", "detected", *["failure"] * 3, "done"]
        assert served.engine.models["embedder"].batches == served.index.queries == []


async def test_people_in_a_crop_are_grey_before_it_is_embedded_and_others_stay() -> None:
    nobody, somebody = [(CHAIR, 0.75, 0)], [(CHAIR, 0.75, 0), (HALF, 0.875, 2)]
    async with serving(engine=seeing_by_call(nobody, somebody)) as served:
        events = await events_of(served.search(cut(crops=[PHOTO, PHOTO])))
        assert events[1].detected.redacted == 1
        first, second = served.engine.models["embedder"].parts
        assert not (first == GREY).all(axis=-1).any()
        size = second.shape[0]
        assert (second[: size // 4, size // 2 + 1 :] == GREY).all()


@pytest.mark.parametrize("count", [1, 4, 5, 16])
async def test_any_number_of_crops_up_to_the_limit_keeps_its_order(count: int) -> None:
    async with serving() as served:
        events = await events_of(served.search(cut(crops=[PHOTO] * count)))
        names = [f"o{number}" for number in range(1, count + 1)]
        assert [each.object_id for each in events[1].detected.objects] == names
        assert [event.results.object_id for event in events[2:-1]] == names


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a photo too": ({"photo": PHOTO}, "INVALID_REQUEST", "crops"),
    "regions": ({"regions": [box(0, 0, 1, 1)]}, "INVALID_REQUEST", "regions"),
    "too many": ({"crops": [PHOTO] * 17}, "INVALID_REQUEST", "crops"),
    "fewer objects": ({"max_objects": 2}, "INVALID_REQUEST", "max_objects"),
    "negative objects": ({"max_objects": -1}, "INVALID_REQUEST", "max_objects"),
    "products": ({"max_products": 101}, "INVALID_REQUEST", "max_products"),
    "similarity": ({"min_similarity": -1.0}, "INVALID_REQUEST", "min_similarity"),
    "lane": ({"lane": 9}, "INVALID_REQUEST", "lane"),
    "filter": ({"filter": pb.Filter(brands=[""])}, "INVALID_REQUEST", "filter.brands[0]"),
    "too many bytes": ({"crops": [bytes(600_000), bytes(600_000)]}, "LIMIT_EXCEEDED", "crops"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_request_is_refused_before_anything_is_decoded(name: str) -> None:
    fields, reason, field = BAD[name]
    async with serving(limits={"max_photo_bytes": 1 << 20}) as served:
        refusal = await refused(served, **fields)
        assert (refusal.code, refusal.reason) == (CODE.INVALID_ARGUMENT, reason)
        assert refusal.details["BadRequest"].field_violations[0].field == field
        assert kinds(await events_of(served.search(cut())))[-1] == "done"


@pytest.mark.parametrize(
    ("crop", "reason"),
    [(b"", "INVALID_IMAGE"), (PHOTO[:200], "INVALID_IMAGE"), (MARK.encode() * 50, "INVALID_IMAGE")],
    ids=["empty", "cut", "no-image"],
)
async def test_a_crop_that_cannot_be_decoded_is_named_and_ends_the_call(crop: bytes, reason: str) -> None:
    async with serving() as served:
        refusal = await failed(served.search(cut(crops=[PHOTO, crop, PHOTO])))
        assert (refusal.events, refusal.code, refusal.reason) == ([], CODE.INVALID_ARGUMENT, reason)
        assert refusal.details["BadRequest"].field_violations[0].field == "crops[1]"
        assert refusal.message.startswith("crops[1]: ") and MARK not in str(refusal)
        assert served.engine.models["detector"].batches == []
        await served.gone()


async def test_pixels_of_all_crops_together_are_bounded_as_those_of_a_photo() -> None:
    async with serving(limits={"max_photo_pixels": 96 * 96 + 10}) as served:
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
        assert kinds(await events_of(served.search(cut(crops=[PHOTO]))))[-1] == "done"
        refusal = await failed(served.search(cut(crops=[PHOTO, PHOTO])))
        assert (refusal.reason, refusal.events) == ("LIMIT_EXCEEDED", [])


async def test_an_embedder_that_fails_for_one_part_fails_its_crop_alone() -> None:
    async with serving(batching={"crops": {"max_batch": 16}}) as served:
        error = SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer has the wrong shape")
        served.engine.models["embedder"].replies = [error]
        events = await events_of(served.search(cut()))
        assert kinds(events)[2] == "failure" and kinds(events)[-1] == "done"
        assert events[2].failure.object_id == "o1"


@pytest.fixture
def service(tmp_path: Path) -> ConsentService:
    return ConsentService(tmp_path)


async def test_a_grant_for_the_crops_works_once(service: ConsentService) -> None:
    async with serving(consent=service.settings()) as served:
        assert (await refused(served)).reason == "GRANT_MISSING"
        grant = service.grant(pht=parts_hash(CROPS))
        assert (await refused(served, grant, photo=PHOTO)).reason == "INVALID_REQUEST"
        assert (await refused(served, grant, crops=[PHOTO])).reason == "GRANT_OTHER_PHOTO"
        assert kinds(await events_of(served.search(cut(grant=grant), metadata=header(grant))))[-1] == "done"
        assert (await refused(served, grant)).reason == "GRANT_REPLAYED"


@pytest.mark.parametrize(
    "pht",
    [parts_hash(CROPS[::-1]), parts_hash(CROPS[:2]), hash_of(b"".join(CROPS)), hash_of(CROPS[0])],
    ids=["other-order", "fewer", "without-lengths", "as-a-photo"],
)
async def test_a_grant_for_something_else_is_refused_before_decoding(service: ConsentService, pht: str) -> None:
    async with serving(consent=service.settings()) as served:
        refusal = await refused(served, service.grant(pht=pht))
        assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, "GRANT_OTHER_PHOTO")


async def test_a_grant_for_one_crop_is_not_one_for_the_photo_of_the_same_bytes(service: ConsentService) -> None:
    async with serving(consent=service.settings()) as served:
        assert (await refused(served, service.grant(), crops=[PHOTO])).reason == "GRANT_OTHER_PHOTO"
        refusal = await failed(served.search(asked(grant=service.grant(pht=parts_hash([PHOTO])))))
        assert refusal.reason == "GRANT_OTHER_PHOTO"


async def test_both_clients_send_crops_and_sign_for_them(tmp_path: Path) -> None:
    service = ConsentService(tmp_path)
    signer = grants.GrantSigner(grants.new_key(), ISSUER, AUDIENCE)
    service.path.write_text(grants.public_keys(signer.key))
    person = [(PERSON, 0.875, 2)]
    chair = [(CHAIR, 0.75, 0)]
    engine = seeing_by_call(chair, person, *[chair] * 4)
    async with serving(engine=engine, consent=service.settings()) as served:
        async with AsyncClient(served.address) as client:
            grant = signer.grant_crops(CROPS[:2], act="tap")
            answer = await client.find_crops(CROPS[:2], grant=grant, max_products=1)
            assert [each.object.source for each in answer.objects] == [ObjectSource.CROP] * 2
            assert answer.objects[1].failure is not None
            assert answer.objects[1].failure.reason is FailureReason.PERSON
            with pytest.raises(PermissionDeniedError):
                await client.find_crops(CROPS[:2], grant=grant)

        def blocking() -> Any:
            with Client(served.address) as client:
                whole = client.find_crops([bytearray(PHOTO)], grant=signer.grant_crops([PHOTO]))
                return whole, list(client.search_crops(iter(CROPS[:2]), grant=signer.grant_crops(CROPS[:2])))

        whole, events = await asyncio.to_thread(blocking)
        assert len(whole.objects) == 1 and len(events) == 5


async def test_the_request_of_the_client_has_crops_and_no_photo() -> None:
    fake = FakeLens()
    async with serving_script(fake) as target, AsyncClient(target) as client:
        assert (await client.find_crops([memoryview(PHOTO)], catalog="shoes")).done == ANSWER[-1]
    [request] = fake.requests
    assert (request.photo, list(request.crops), request.catalog) == (b"", [PHOTO], "shoes")


@pytest.mark.parametrize(
    ("crops", "parameters", "field"),
    [
        (PHOTO, {}, "crops"),
        ("text", {}, "crops"),
        (None, {}, "crops"),
        ([], {}, "crops"),
        ([PHOTO, "room.jpg"], {}, "crops[1]"),
        ([PHOTO, np.zeros((2, 2, 3), np.uint8)], {}, "crops[1]"),
        ([PHOTO], {"regions": []}, "regions"),
        ([PHOTO], {"max_objects": 1}, "max_objects"),
    ],
)
async def test_what_is_no_crop_is_named_and_not_sent(crops: Any, parameters: Any, field: str) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find_crops(crops, **parameters)
    assert [each.field for each in caught.value.violations] == [field]


async def test_crops_that_are_too_large_together_are_not_sent() -> None:
    async with AsyncClient(ClientOptions("127.0.0.1:1", max_photo_bytes=1000)) as client:
        with pytest.raises(PhotoTooLargeError) as caught:
            await client.find_crops([bytes(600), bytes(600)])
    assert [each.field for each in caught.value.violations] == ["crops"]


async def test_a_photo_of_an_old_client_is_searched_as_ever() -> None:
    """Field 1 stays what it was; a server before crops skips field 11 and refuses an empty photo."""
    photo = pb.SearchRequest.DESCRIPTOR.fields_by_name["photo"]
    assert (photo.number, photo.containing_oneof) == (1, None)
    async with serving() as served:
        raw = b"\x0a" + bytes([len(PHOTO) & 0x7F | 0x80, len(PHOTO) >> 7]) + PHOTO
        assert len(PHOTO) < 1 << 14
        method: Any = served.channel.unary_stream(
            "/sightline.v1.LensService/Search", response_deserializer=pb.SearchResponse.FromString
        )
        assert kinds(await events_of(method(raw, timeout=20)))[-1] == "done"
