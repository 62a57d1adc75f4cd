"""Contract messages <-> values: each field's bounds, and nothing that the server cannot do passes silently."""

import math
from typing import Any

import pytest

from sightline.v1 import geometry_pb2, lens_service_pb2, product_pb2
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.events import (
    Accepted,
    Detected,
    Done,
    FailureReason,
    Notice,
    ObjectFailure,
    ObjectResults,
    SkippedStep,
    StageTimings,
)
from sightline_server.domain.filters import AppliedFilter, Filter, FilterPlan, PlanKind
from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.items import (
    MatchLevel,
    ObjectSource,
    PhotoObject,
    Product,
    RankedProduct,
    Reason,
    ReasonKind,
    TapBox,
)
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.domain.stages import STAGE_NAMES
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.lens import convert
from sightline_server.settings import LimitSettings
from tests.support.passes import pass_to

APPLIED = AppliedFilter("brand=f", FilterPlan(PlanKind.GATHER, 3, 5))
LIMITS = LimitSettings(max_regions=4, default_objects=2, max_objects=3, default_products=5, max_products=7)


def query(*, default: bool = False, **fields: Any) -> SearchQuery:
    request = lens_service_pb2.SearchRequest(photo=b"p", **fields)
    target = convert.to_target(request)
    granted = pass_to(CatalogNames().named(target.catalog), target.lane)
    return convert.to_query(
        request, granted, request_id="r", deadline=9.0, catalogs=CatalogNames(), limits=LIMITS, one_per_group=default
    )


def refusal(**fields: Any) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        query(**fields)
    return caught.value


def box(*corners: float) -> geometry_pb2.Region:
    names = ("x_min", "y_min", "x_max", "y_max")
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(**dict(zip(names, corners, strict=True))))


def tap(x: float, y: float) -> geometry_pb2.Region:
    return geometry_pb2.Region(tap=geometry_pb2.Point(x=x, y=y))


def test_nothing_given_means_the_defaults() -> None:
    found = query()
    assert found == SearchQuery("r", b"p", 9.0, 2, 5, 0.0, (), Lane.INTERACTIVE)


def test_everything_given_comes_through() -> None:
    found = query(
        regions=[box(0.25, 0.5, 0.75, 1.0), tap(0.0, 1.0)],
        catalog="default",
        max_objects=3,
        max_products=7,
        min_similarity=0.5,
        lane=lens_service_pb2.LANE_BATCH,
    )
    assert found.regions == (Box(0.25, 0.5, 0.75, 1.0), Point(0.0, 1.0))
    assert (found.max_objects, found.max_products, found.min_similarity, found.lane) == (3, 7, 0.5, Lane.BATCH)


@pytest.mark.parametrize("default", [False, True])
def test_one_per_group_of_the_request_goes_before_the_servers(default: bool) -> None:
    assert query(default=default).one_per_group is default
    assert query(default=default, one_per_group=True).one_per_group is True
    assert query(default=default, one_per_group=False).one_per_group is False


def test_a_second_round_is_off_unless_asked_for_and_not_for_regions() -> None:
    assert not query().look_closer
    assert query(look_closer=True).look_closer
    error = refusal(look_closer=True, regions=[tap(0.5, 0.5)])
    assert (error.kind, error.field) == (ErrorKind.INVALID_REQUEST, "look_closer")


@pytest.mark.parametrize(("field", "cap"), [("max_objects", 3), ("max_products", 7)])
@pytest.mark.parametrize("beyond", [-1, -(2**31), 1, 2**31 - 1 - 7])
def test_a_value_over_its_cap_is_refused_with_the_cap(field: str, cap: int, beyond: int) -> None:
    error = refusal(**{field: beyond if beyond < 0 else cap + beyond})
    assert (error.kind, error.field) == (ErrorKind.INVALID_REQUEST, field)
    assert str(cap) in error.message


@pytest.mark.parametrize(("field", "cap"), [("max_objects", 3), ("max_products", 7)])
def test_exactly_the_cap_is_allowed(field: str, cap: Any) -> None:
    for allowed in (1, cap):
        changes: dict[str, Any] = {field: allowed}
        assert getattr(query(**changes), field) == allowed


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf, -math.inf])
def test_a_similarity_out_of_range_is_refused(value: float) -> None:
    error = refusal(min_similarity=value)
    assert (error.kind, error.field) == (ErrorKind.INVALID_REQUEST, "min_similarity")


@pytest.mark.parametrize(
    "corners",
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.5, 0.5, 0.5, 0.9),
        (0.9, 0.1, 0.1, 0.9),
        (-0.1, 0.0, 1.0, 1.0),
        (0.0, 0.0, 1.1, 1.0),
        (math.nan, 0.0, 1.0, 1.0),
        (0.0, 0.0, 1.0, math.nan),
        (0.0, -math.inf, 1.0, math.inf),
    ],
)
def test_a_bad_box_is_refused_by_its_place(corners: tuple[float, ...]) -> None:
    error = refusal(regions=[box(0.1, 0.1, 0.2, 0.2), box(*corners)])
    assert (error.kind, error.field) == (ErrorKind.INVALID_REQUEST, "regions[1].box")


@pytest.mark.parametrize(("x", "y"), [(-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5), (0.5, math.inf)])
def test_a_bad_tap_is_refused_by_its_place(x: float, y: float) -> None:
    error = refusal(regions=[tap(x, y)])
    assert (error.kind, error.field) == (ErrorKind.INVALID_REQUEST, "regions[0].tap")


def test_a_region_of_neither_kind_is_refused() -> None:
    assert refusal(regions=[geometry_pb2.Region()]).field == "regions[0]"


def test_a_region_whose_corner_was_left_out_is_a_box_of_nothing() -> None:
    assert refusal(regions=[geometry_pb2.Region(box=geometry_pb2.BoundingBox())]).field == "regions[0].box"


def test_too_many_regions_and_fewer_objects_than_regions() -> None:
    regions = [box(0.1, 0.1, 0.2, 0.2)] * 5
    assert refusal(regions=regions).field == "regions"
    assert len(query(regions=regions[:4]).regions) == 4
    assert refusal(regions=regions[:2], max_objects=1).field == "max_objects"
    assert len(query(regions=regions[:2], max_objects=2).regions) == 2


@pytest.mark.parametrize("lane", [3, 99, -1, 2**31 - 1])
def test_a_lane_of_a_later_contract_is_refused(lane: int) -> None:
    assert refusal(lane=lane).field == "lane"


def test_the_lanes() -> None:
    assert query(lane=lens_service_pb2.LANE_INTERACTIVE).lane is Lane.INTERACTIVE
    assert query(lane=lens_service_pb2.LANE_BATCH).lane is Lane.BATCH


@pytest.mark.parametrize("catalog", ["other", "Default", " default", "../default", "x" * 5000])
def test_an_unknown_catalog_is_not_found_and_not_repeated(catalog: str) -> None:
    error = refusal(catalog=catalog)
    assert (error.kind, error.field) == (ErrorKind.UNKNOWN_CATALOG, "catalog")
    assert catalog not in error.message


def test_the_grant_is_read_and_is_not_part_of_the_query() -> None:
    request = lens_service_pb2.SearchRequest(photo=b"p", grant="signed-by-somebody")
    assert convert.to_grant(request) == "signed-by-somebody"
    assert "signed" not in repr(query(grant="signed-by-somebody"))


def test_a_filter_becomes_the_conditions_of_the_query() -> None:
    wanted = query(filter=lens_service_pb2.Filter(brands=["Nordhem"])).wanted
    assert wanted == Filter(brands=("Nordhem",))
    assert not query(filter=lens_service_pb2.Filter()).wanted
    assert not query().wanted


def product(**changes: Any) -> RankedProduct:
    sold = Product("p1", "T", "B", "C", "15.00 USD", "in_stock", "l", "i", "g", "4006381333931", {"color": "red"})
    reasons = (
        Reason(ReasonKind.VISUAL_SIMILARITY, 0.5, "looks alike"),
        Reason(ReasonKind.UNAVAILABLE, -0.25, "is out"),
    )
    plain = {
        "product": sold,
        "similarity": 0.5,
        "score": 0.25,
        "rank": 1,
        "matched_image": "i",
        "level": MatchLevel.WEAK,
    }
    return RankedProduct(**{**plain, "reasons": reasons, **changes})


def test_every_event_says_everything() -> None:
    accepted = convert.to_response(Accepted("r", "shop", "rev")).accepted
    assert (accepted.request_id, accepted.catalog, accepted.catalog_revision) == ("r", "shop", "rev")
    item = PhotoObject("o1", Box(0.25, 0.5, 0.75, 1.0), ObjectSource.TAP, "chair", 0.5, TapBox.DETECTION)
    shown = convert.to_response(Detected((item,))).detected.objects[0]
    further = convert.to_response(Detected((item,), 2, further=True)).detected
    assert (len(further.objects), further.redacted, further.further) == (1, 2, True)
    assert (shown.object_id, shown.label, shown.score, shown.source, shown.tap_box) == (
        "o1",
        "chair",
        0.5,
        lens_service_pb2.OBJECT_SOURCE_TAP,
        lens_service_pb2.TAP_BOX_DETECTION,
    )
    assert (shown.box.x_min, shown.box.y_min, shown.box.x_max, shown.box.y_max) == (0.25, 0.5, 0.75, 1.0)
    results = convert.to_response(ObjectResults("o1", (product(),))).results
    assert results.object_id == "o1"
    ranked = results.products[0]
    assert (ranked.similarity, ranked.score, ranked.rank, ranked.matched_image) == (0.5, 0.25, 1, "i")
    assert ranked.level == product_pb2.MATCH_LEVEL_WEAK
    assert [(reason.kind, reason.contribution, reason.text) for reason in ranked.reasons] == [
        (product_pb2.REASON_KIND_VISUAL_SIMILARITY, 0.5, "looks alike"),
        (product_pb2.REASON_KIND_UNAVAILABLE, -0.25, "is out"),
    ]
    sold = ranked.product
    names = [field.name for field in sold.DESCRIPTOR.fields if field.name != "attributes"]
    assert {name: getattr(sold, name) for name in names} == {
        "id": "p1", "title": "T", "brand": "B", "category": "C", "price": "15.00 USD", "availability": "in_stock",
        "link": "l", "image_link": "i", "item_group_id": "g", "gtin": "4006381333931",
    }  # fmt: skip
    assert dict(sold.attributes) == {"color": "red"}
    failure = convert.to_response(ObjectFailure("o1", FailureReason.MODEL_ANSWER, "m")).failure
    assert (failure.object_id, failure.reason, failure.message) == (
        "o1",
        lens_service_pb2.FAILURE_REASON_MODEL_ANSWER,
        "m",
    )
    plain = StageTimings({name: n for n, name in enumerate(STAGE_NAMES, start=1)}, 7, 8)
    done = convert.to_response(Done(plain, "shop", "rev", "d@1", "e@2", "r", APPLIED)).done
    assert done.catalog == "shop"
    assert (done.catalog_revision, done.detector, done.embedder, done.request_id, done.applied_filter) == (
        "rev",
        "d@1",
        "e@2",
        "r",
        "brand=f",
    )
    plan = done.filter_plan
    assert (plan.kind, plan.products, plan.images) == (lens_service_pb2.FILTER_PLAN_KIND_GATHER, 3, 5)
    assert done.notice == lens_service_pb2.NOTICE_UNSPECIFIED
    noticed = Done(plain, "shop", "rev", "d@1", "e@2", "r", notice=Notice.PERSON_ONLY)
    assert convert.to_response(noticed).done.notice == lens_service_pb2.NOTICE_PERSON_ONLY
    timings = done.timings
    expected = {name: 1000.0 * n for n, name in enumerate(STAGE_NAMES, start=1)} | {"queue": 7000.0, "total": 8000.0}
    found = {field.name: getattr(timings, field.name) for field in timings.DESCRIPTOR.fields}
    assert found == {f"{name}_ms": value for name, value in expected.items()}
    skipped = Done(plain, "shop", "rev", "d@1", "e@2", "r", skipped=(SkippedStep.CODES,))
    assert list(convert.to_response(skipped).done.skipped) == [lens_service_pb2.SKIPPED_STEP_CODES]


@pytest.mark.parametrize(
    ("table", "enum", "contract"),
    [
        (convert.SOURCES, ObjectSource, lens_service_pb2.ObjectSource),
        (convert.LEVELS, MatchLevel, product_pb2.MatchLevel),
        (convert.REASONS, ReasonKind, product_pb2.ReasonKind),
        (convert.FAILURES, FailureReason, lens_service_pb2.FailureReason),
        ({key: number for key, number in convert.NOTICES.items() if key}, Notice, lens_service_pb2.Notice),
        ({key: number for key, number in convert.TAP_BOXES.items() if key}, TapBox, lens_service_pb2.TapBox),
    ],
)
def test_the_tables_are_total_on_both_sides(table: dict[Any, int], enum: Any, contract: Any) -> None:
    assert set(table) == set(enum)
    assert sorted(table.values()) == sorted(value for value in contract.values() if value)
