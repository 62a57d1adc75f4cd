"""The walk before parsing: what a request may have, what is refused, and that it costs next to nothing."""

import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.v1 import geometry_pb2, lens_service_pb2
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.fields import USUAL_FIELDS, FieldBounds, not_a_request
from sightline_server.rpc.fields import parse as parse_as
from sightline_server.rpc.lens.service import search_method
from sightline_server.settings import REQUEST_ALLOWANCE, LimitSettings

LIMITS = LimitSettings()
MOST_FIELDS = LIMITS.max_regions + USUAL_FIELDS
REGION = b"\x12\x00"
SIZE = 20_000_000


def parse(raw: bytes, limits: LimitSettings) -> lens_service_pb2.SearchRequest:
    return parse_as(raw, lens_service_pb2.SearchRequest, search_method(limits).bounds)


def refused(raw: bytes) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        parse(raw, LIMITS)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    return caught.value


def test_a_whole_request_is_parsed_as_it_was_sent() -> None:
    sent = lens_service_pb2.SearchRequest(
        photo=bytes(300_000),
        regions=[geometry_pb2.Region(tap=geometry_pb2.Point(x=0.5, y=0.25))] * LIMITS.max_regions,
        filter=lens_service_pb2.Filter(brands=["Nordhem"], price=lens_service_pb2.PriceRange(minimum=1.0)),
        catalog="shop",
        max_objects=16,
        max_products=100,
        min_similarity=0.5,
        lane=lens_service_pb2.LANE_BATCH,
        grant="signed",
        one_per_group=True,
        look_closer=True,
        text="in blue",
        text_weight=0.25,
    )
    assert parse(sent.SerializeToString(), LIMITS) == sent


def test_the_empty_request_is_a_request() -> None:
    assert parse(b"", LIMITS) == lens_service_pb2.SearchRequest()


def test_fields_of_later_contracts_are_passed_over() -> None:
    later = b"\x98\x06\x2a" + b"\xa1\x06" + bytes(8) + b"\xad\x06" + bytes(4) + b"\xb2\x06\x03abc"
    assert parse(b"\x22\x04shop" + later, LIMITS).catalog == "shop"


def test_as_many_fields_as_are_allowed_and_one_more() -> None:
    assert len(parse(REGION * MOST_FIELDS, LIMITS).regions) == MOST_FIELDS
    assert f"more than {MOST_FIELDS} fields" in refused(REGION * (MOST_FIELDS + 1)).message


def test_fields_follow_the_setting_of_regions() -> None:
    many = LimitSettings(max_regions=200)
    assert len(parse(REGION * 200, many).regions) == 200


@pytest.mark.parametrize(
    "head", [b"\x1a", b"\x22", b"\x4a", b"\xb2\x06"], ids=["filter", "catalog", "grant", "unknown"]
)
def test_bytes_in_addition_to_the_photo_are_bounded(head: bytes) -> None:
    body = b"\x0a\x00" * (REQUEST_ALLOWANCE // 2)
    assert "in addition to the photo or the crops" in refused(head + varint(len(body)) + body).message


def test_crops_count_as_fields_and_not_as_bytes_in_addition() -> None:
    crops = [bytes(2 * REQUEST_ALLOWANCE)] * 2
    sent = lens_service_pb2.SearchRequest(crops=crops, catalog="shop")
    assert parse(sent.SerializeToString(), LIMITS) == sent
    # Ten million empty crops would take half a gigabyte once they are parsed.
    assert "fields" in refused(b"\x5a\x00" * (SIZE // 2)).message


def test_without_a_large_field_every_byte_counts() -> None:
    raw = lens_service_pb2.SearchRequest(photo=bytes(64)).SerializeToString()
    bounds = FieldBounds(most_bytes=len(raw))
    assert parse_as(raw, lens_service_pb2.SearchRequest, bounds).photo == bytes(64)
    with pytest.raises(SightlineError, match=r"^the request has more than 65 bytes$"):
        parse_as(raw, lens_service_pb2.SearchRequest, FieldBounds(most_bytes=len(raw) - 1))


def test_bytes_of_another_message_are_named_after_the_expected_one() -> None:
    with pytest.raises(SightlineError, match=r"^the request is not a sightline\.v1\.Filter$"):
        parse_as(b"\xff", lens_service_pb2.Filter, FieldBounds())


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff" * 50,
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x12\x03abc",
        b"\x0b\x0c",
        b"\xfb\x07" * 50_000 + b"\xfc\x07" * 50_000,
        b"\x09\x00",
        b"\x0d\x00",
        b"\x08",
        b"\x22\x02\xc3\x28",
        b"\x08" + b"\xff" * 11,
    ],
    ids=[
        *("bytes", "no length", "a length beyond the end", "a region of bytes", "a group", "nested groups"),
        *("half of 64 bits", "half of 32 bits", "no number", "not UTF-8", "a long number"),
    ],
)
def test_bytes_that_are_not_a_request_are_refused(raw: bytes) -> None:
    assert "SearchRequest" in refused(raw).message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    with suppress(SightlineError):
        parse(raw, LIMITS)


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08\x00", b"\x78\x9c\x00\x00"])
def test_compressed_requests_are_told_so(start: bytes) -> None:
    assert "compressed" in not_a_request(start, lens_service_pb2.SearchRequest).message


@pytest.mark.parametrize(
    "raw",
    [
        REGION * (SIZE // 2),
        b"\x0a\x00" * (SIZE // 2),
        b"\x1a" + varint(SIZE) + b"\x0a\x00" * (SIZE // 2),
        b"\xf8\x07\x01" * (SIZE // 3),
    ],
    ids=["regions", "photos", "brands", "unknown"],
)
def test_a_large_refusal_takes_no_memory_and_no_time(raw: bytes) -> None:
    tracemalloc.start()
    begun = time.process_time()
    try:
        refused(raw)
        assert time.process_time() - begun < 0.05
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
