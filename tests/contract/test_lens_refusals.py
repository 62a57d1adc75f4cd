"""Every refusal of DESIGN 8 through a real channel: code, details, the field at fault, and nothing before it."""

import math
from typing import Any

import grpc
import pytest

from sightline.v1 import geometry_pb2, lens_service_pb2
from tests.support.asking import events_of, kinds
from tests.support.lens import Failed, Served, failed, serving
from tests.support.pictures import encode, exif, gradient, noise, png_header, tiff_with_tile, with_scans

PHOTO = encode(gradient(64, 64), exif=exif(6))
LIMITS = {
    "max_photo_bytes": 200_000,
    "max_photo_pixels": 1_000_000,
    "max_regions": 3,
    "max_objects": 4,
    "default_objects": 4,
}


def box(*corners: float) -> geometry_pb2.Region:
    names = ("x_min", "y_min", "x_max", "y_max")
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(**dict(zip(names, corners, strict=True))))


GOOD_BOX = box(0.1, 0.1, 0.9, 0.9)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no photo": ({"photo": b""}, "photo"),
    "not an image": ({"photo": b"not an image at all"}, "photo"),
    "truncated jpeg": ({"photo": encode(noise(64, 64))[:-400]}, "photo"),
    "truncated png": ({"photo": encode(noise(64, 64), "PNG")[:-400]}, "photo"),
    "unknown format": ({"photo": encode(gradient(), "TGA")}, "photo"),
    "too many scans": ({"photo": with_scans(500)}, "photo"),
    "empty box": ({"regions": [box(0.5, 0.5, 0.5, 0.5)]}, "regions[0].box"),
    "box outside": ({"regions": [GOOD_BOX, box(0.5, 0.5, 1.5, 0.9)]}, "regions[1].box"),
    "box of nan": ({"regions": [box(math.nan, 0.0, 1.0, 1.0)]}, "regions[0].box"),
    "tap outside": ({"regions": [geometry_pb2.Region(tap=geometry_pb2.Point(x=2.0, y=0.5))]}, "regions[0].tap"),
    "empty region": ({"regions": [geometry_pb2.Region()]}, "regions[0]"),
    "too many regions": ({"regions": [GOOD_BOX] * 4}, "regions"),
    "too many objects": ({"max_objects": 5}, "max_objects"),
    "negative objects": ({"max_objects": -1}, "max_objects"),
    "too many products": ({"max_products": 101}, "max_products"),
    "similarity over one": ({"min_similarity": 1.5}, "min_similarity"),
    "similarity of nan": ({"min_similarity": math.nan}, "min_similarity"),
    "unknown lane": ({"lane": 77}, "lane"),
    "empty brand": ({"filter": lens_service_pb2.Filter(brands=["Nordhem", " "])}, "filter.brands[1]"),
    "price without a currency": (
        {"filter": lens_service_pb2.Filter(price=lens_service_pb2.PriceRange(maximum=9.0))},
        "filter.price.currency",
    ),
}
BEYOND: dict[str, tuple[bytes, str, str]] = {
    "bytes": (b"\xff\xd8\xff" + bytes(200_000), "max_photo_bytes", "200000"),
    "pixels of a header": (png_header(50_000, 50_000), "max_photo_pixels", "1000000"),
    "pixels of a tile": (tiff_with_tile(16, 16, 2048, 2048), "max_photo_pixels", "1000000"),
}
NOT_BUILT: dict[str, dict[str, Any]] = {
    "grant": {"grant": "signed"},
    # A condition of a newer contract: field 99, a text.
    "filter": {"filter": lens_service_pb2.Filter.FromString(b"\x9a\x06\x04sale")},
}


def asked(**fields: Any) -> lens_service_pb2.SearchRequest:
    return lens_service_pb2.SearchRequest(**{"photo": PHOTO, **fields})


async def refused(served: Served, **fields: Any) -> Failed:
    """The refusal of a request; it came before the first event, names the request, and left nobody inside."""
    error = await failed(served.search(asked(**fields)))
    assert error.events == []
    assert len(error.details["ErrorInfo"].metadata["request_id"]) == 16
    assert error.details["ErrorInfo"].domain == "sightline"
    await served.gone()
    assert served.value("in_flight") == 0
    return error


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_invalid_argument_and_names_the_field(name: str) -> None:
    fields, at_fault = BAD[name]
    async with serving(limits=LIMITS) as served:
        error = await refused(served, **fields)
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(error.details) == {"ErrorInfo", "BadRequest"}
        (violation,) = error.details["BadRequest"].field_violations
        assert (violation.field, violation.description) == (at_fault, error.message)
        assert error.reason in ("INVALID_IMAGE", "INVALID_REQUEST")
        assert served.engine.models["detector"].batches == []


@pytest.mark.parametrize("name", BEYOND)
async def test_a_photo_over_a_limit_is_invalid_argument_and_names_the_limit(name: str) -> None:
    photo, limit, value = BEYOND[name]
    async with serving(limits=LIMITS, decode={"formats": ["png", "tiff"]}) as served:
        error = await refused(served, photo=photo)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
        assert error.details["BadRequest"].field_violations[0].field == "photo"
        info = error.details["ErrorInfo"].metadata
        assert (info["limit"], info["value"]) == (limit, value)
        assert value in error.message


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF"])
async def test_a_format_is_taken_only_where_a_setting_allows_it(form: str) -> None:
    photo = encode(gradient(), form)
    async with serving() as served:
        error = await refused(served, photo=photo)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_IMAGE")
        assert error.details["ErrorInfo"].metadata["format"] == form.lower()
        assert error.message == (
            f"the photo is {form}; supported are JPEG, PNG and WebP; convert it in the app"
            f" (or allow {form.lower()} in the server's decode.formats)"
        )
    async with serving(decode={"formats": ["jpeg", form.lower()]}) as served:
        assert kinds(await events_of(served.search(asked(photo=photo))))[-1] == "done"


async def test_heic_is_named_for_programs_too() -> None:
    async with serving() as served:
        error = await refused(served, photo=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        assert error.details["ErrorInfo"].metadata["format"] == "heic"
        assert error.message == (
            "the photo is HEIC; supported are JPEG, PNG and WebP; "
            "convert it in the app (or allow heic in the server's decode.formats)"
        )


async def test_a_message_over_grpcs_limit_is_refused_by_grpc_itself() -> None:
    async with serving(limits=LIMITS) as served:
        error = await failed(served.search(asked(photo=bytes(200_000 + 1024 * 1024 + 100))))
        assert (error.events, error.code, error.details) == ([], grpc.StatusCode.RESOURCE_EXHAUSTED, {})
        # A photo of exactly the limit fits into the message, whatever else the request holds.
        error = await refused(served, photo=bytes(200_000), regions=[GOOD_BOX] * 3)
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_catalog_is_not_found() -> None:
    async with serving() as served:
        error = await refused(served, catalog="another")
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_CATALOG")
        assert "another" not in error.message
        resource = error.details["ResourceInfo"]
        assert (resource.resource_type, resource.resource_name) == ("catalog", "")
        assert "another" not in str(error.details)
        odd = await refused(served, catalog="no such\nname")
        assert odd.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", NOT_BUILT)
async def test_what_is_not_built_is_unimplemented(name: str) -> None:
    async with serving() as served:
        error = await refused(served, **NOT_BUILT[name])
        assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_BUILT")
        assert set(error.details) == {"ErrorInfo"}
        assert error.details["ErrorInfo"].metadata["field"] == name


async def test_an_engine_that_is_not_ready_is_unavailable_with_a_delay() -> None:
    async with serving() as served:
        served.engine.ready = False
        error = await refused(served)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")
        assert set(error.details) == {"ErrorInfo", "RetryInfo"}
        assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0


async def test_a_server_that_is_still_starting_is_unavailable_with_a_delay() -> None:
    async with serving(opened=False) as served:
        error = await refused(served)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")
        assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0


async def test_a_caller_whose_deadline_has_passed_gets_no_answer() -> None:
    async with serving() as served:
        error = await failed(served.search(asked(), timeout=0.0))
        assert (error.events, error.code) == ([], grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_every_refusal_in_a_row_and_then_a_good_photo() -> None:
    async with serving(limits=LIMITS) as served:
        for _ in range(3):
            for fields, _ in BAD.values():
                await refused(served, **fields)
            for photo, _, _ in BEYOND.values():
                await refused(served, photo=photo)
            for fields in NOT_BUILT.values():
                await refused(served, **fields)
        call = served.search(asked())
        events = []
        while (event := await call.read()) is not grpc.aio.EOF:
            events.append(event.WhichOneof("event"))
        assert events == ["accepted", "detected", "results", "results", "done"]
        assert served.value("requests_total", method="Search", code="INVALID_ARGUMENT") == 3 * (len(BAD) + len(BEYOND))


@pytest.mark.parametrize(("setting", "limit"), [("max_open_calls", "open"), ("max_connection_calls", "connection")])
async def test_more_calls_than_may_be_open_are_refused_before_their_photo_is_read(setting: str, limit: str) -> None:
    async with serving(limits={setting: 2}) as served:
        served.engine.models["detector"].gate.clear()
        inside = [served.search(asked()) for _ in range(2)]
        for call in inside:
            assert (await call.read()).WhichOneof("event") == "accepted"
        error = await failed(served.search(asked()))
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.events == []
        assert set(error.details) == {"ErrorInfo", "RetryInfo", "QuotaFailure"}
        assert error.details["ErrorInfo"].metadata["limit"] == f"{limit}_calls"
        assert served.value("refused_calls_total", limit=f"{limit}_calls") == 1
        served.engine.models["detector"].gate.set()
        for call in inside:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert served.value("requests_total", method="Search", code="OK") == 2
