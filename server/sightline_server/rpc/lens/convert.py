"""Contract messages <-> domain values.

Rule: 0 means the default, above the cap is an error that names the field, and what the contract names but the server
does not do yet is refused.
"""

import math
from typing import assert_never

from sightline.v1 import geometry_pb2, lens_service_pb2, product_pb2
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.events import (
    Accepted,
    Detected,
    Done,
    Event,
    FailureReason,
    Notice,
    ObjectFailure,
    ObjectResults,
    SkippedStep,
    StageTimings,
)
from sightline_server.domain.geometry import Box, Point
from sightline_server.domain.items import (
    MatchLevel,
    ObjectSource,
    PhotoObject,
    Product,
    RankedProduct,
    ReasonKind,
    TapBox,
)
from sightline_server.domain.request import NO_FILTER, Lane, Region, SearchQuery
from sightline_server.rpc.lens.filters import to_filter, to_plan
from sightline_server.rpc.method import Target
from sightline_server.rpc.refusals import invalid
from sightline_server.settings import LimitSettings

LANES = {
    lens_service_pb2.LANE_UNSPECIFIED: Lane.INTERACTIVE,
    lens_service_pb2.LANE_INTERACTIVE: Lane.INTERACTIVE,
    lens_service_pb2.LANE_BATCH: Lane.BATCH,
}
SOURCES = {
    ObjectSource.DETECTOR: lens_service_pb2.OBJECT_SOURCE_DETECTOR,
    ObjectSource.BOX: lens_service_pb2.OBJECT_SOURCE_BOX,
    ObjectSource.TAP: lens_service_pb2.OBJECT_SOURCE_TAP,
    ObjectSource.WHOLE_PHOTO: lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO,
    ObjectSource.CODE: lens_service_pb2.OBJECT_SOURCE_CODE,
    ObjectSource.EMBEDDING: lens_service_pb2.OBJECT_SOURCE_EMBEDDING,
    ObjectSource.CROP: lens_service_pb2.OBJECT_SOURCE_CROP,
}
TAP_BOXES = {
    None: lens_service_pb2.TAP_BOX_UNSPECIFIED,
    TapBox.DETECTION: lens_service_pb2.TAP_BOX_DETECTION,
    TapBox.GROWN: lens_service_pb2.TAP_BOX_GROWN,
    TapBox.SQUARE: lens_service_pb2.TAP_BOX_SQUARE,
}
LEVELS = {
    MatchLevel.WEAK: product_pb2.MATCH_LEVEL_WEAK,
    MatchLevel.SIMILAR: product_pb2.MATCH_LEVEL_SIMILAR,
    MatchLevel.SAME_ITEM: product_pb2.MATCH_LEVEL_SAME_ITEM,
}
REASONS = {
    ReasonKind.VISUAL_SIMILARITY: product_pb2.REASON_KIND_VISUAL_SIMILARITY,
    ReasonKind.CATEGORY_MATCH: product_pb2.REASON_KIND_CATEGORY_MATCH,
    ReasonKind.UNAVAILABLE: product_pb2.REASON_KIND_UNAVAILABLE,
    ReasonKind.CODE: product_pb2.REASON_KIND_CODE,
    ReasonKind.LOCAL_FEATURES: product_pb2.REASON_KIND_LOCAL_FEATURES,
    ReasonKind.COLOUR: product_pb2.REASON_KIND_COLOUR,
    ReasonKind.PRINTED_TEXT: product_pb2.REASON_KIND_PRINTED_TEXT,
}
FAILURES = {
    FailureReason.MODEL_ANSWER: lens_service_pb2.FAILURE_REASON_MODEL_ANSWER,
    FailureReason.INTERNAL: lens_service_pb2.FAILURE_REASON_INTERNAL,
    FailureReason.PERSON: lens_service_pb2.FAILURE_REASON_PERSON,
    FailureReason.TOO_LARGE: lens_service_pb2.FAILURE_REASON_TOO_LARGE,
}
NOTICES = {
    None: lens_service_pb2.NOTICE_UNSPECIFIED,
    Notice.PERSON_ONLY: lens_service_pb2.NOTICE_PERSON_ONLY,
}

SKIPPED = {
    SkippedStep.CODES: lens_service_pb2.SKIPPED_STEP_CODES,
    SkippedStep.LOCAL_FEATURES: lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES,
    SkippedStep.PRINTED_TEXT: lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT,
    SkippedStep.LOOK_CLOSER: lens_service_pb2.SKIPPED_STEP_LOOK_CLOSER,
}


Request = lens_service_pb2.SearchRequest | lens_service_pb2.SearchEmbeddingsRequest


def to_target(request: Request) -> Target:
    """The catalog and the lane of the request; an unknown lane counts as the default until it is refused."""
    return Target(request.catalog, LANES.get(request.lane, Lane.INTERACTIVE))


def to_grant(request: Request) -> str:
    """The consent grant of the request; empty where it has none."""
    return request.grant


def to_query(
    request: lens_service_pb2.SearchRequest,
    catalog: CatalogPass,
    *,
    request_id: str,
    deadline: float,
    catalogs: CatalogNames,
    limits: LimitSettings,
    one_per_group: bool = False,
) -> SearchQuery:
    """The request as a checked query in the lane of the pass; `one_per_group` is the server's default for requests
    without that field.

    Raises `SightlineError` that names the field at fault.
    """
    catalogs.check(catalog.catalog)
    check_lane(request)
    if len(request.regions) > limits.max_regions:
        raise invalid("regions", f"{len(request.regions)} regions, the limit is {limits.max_regions}")
    if 0 < request.max_objects < len(request.regions):
        raise invalid("max_objects", "fewer objects than regions")
    if request.look_closer and request.regions:
        raise invalid("look_closer", "regions say where the objects are: leave one of the two out")
    return SearchQuery(
        request_id=request_id,
        photo=request.photo,
        deadline=deadline,
        regions=tuple(to_region(region, place) for place, region in enumerate(request.regions)),
        max_objects=bounded("max_objects", request.max_objects, limits.default_objects, limits.max_objects),
        max_products=bounded("max_products", request.max_products, limits.default_products, limits.max_products),
        min_similarity=to_similarity(request.min_similarity),
        lane=catalog.lane,
        one_per_group=request.one_per_group if request.HasField("one_per_group") else one_per_group,
        wanted=to_filter(request.filter) if request.HasField("filter") else NO_FILTER,
        look_closer=request.look_closer,
    )


def check_lane(request: Request | lens_service_pb2.GetServerInfoRequest) -> None:
    """Raises `SightlineError` for a lane that is not known."""
    if request.lane not in LANES:
        raise invalid("lane", "this lane is not known")


def to_region(region: geometry_pb2.Region, place: int) -> Region:
    """A box or a point in 0..1. Raises `SightlineError`."""
    field = f"regions[{place}]"
    match region.WhichOneof("shape"):
        case "box":
            box = region.box
            try:
                return Box(box.x_min, box.y_min, box.x_max, box.y_max)
            except ValueError as error:
                raise invalid(f"{field}.box", "a box has 0 <= min < max <= 1 in x and y") from error
        case "tap":
            if not (0.0 <= region.tap.x <= 1.0 and 0.0 <= region.tap.y <= 1.0):
                raise invalid(f"{field}.tap", "a tap has x and y in 0..1")
            return Point(region.tap.x, region.tap.y)
        case _:
            raise invalid(field, "a region is a box or a tap")


def bounded(field: str, value: int, default: int, cap: int) -> int:
    """`value`, or `default` for 0. Raises `SightlineError` when it is negative or above `cap`."""
    if not 0 <= value <= cap:
        raise invalid(field, f"must be 0 to {cap}, not {value}")
    return value or default


def to_similarity(value: float) -> float:
    """A threshold in 0..1. Raises `SightlineError`."""
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise invalid("min_similarity", "must be 0 to 1")
    return value


def to_response(event: Event) -> lens_service_pb2.SearchResponse:
    """The event as a message of the stream."""
    match event:
        case Accepted():
            return lens_service_pb2.SearchResponse(
                accepted=lens_service_pb2.Accepted(
                    request_id=event.request_id, catalog=event.catalog, catalog_revision=event.catalog_revision
                ),
            )
        case Detected():
            objects = [to_object(item) for item in event.objects]
            return lens_service_pb2.SearchResponse(
                detected=lens_service_pb2.Detected(objects=objects, redacted=event.redacted, further=event.further)
            )
        case ObjectResults():
            products = [to_ranked(product) for product in event.products]
            results = lens_service_pb2.ObjectResults(object_id=event.object_id, products=products)
            return lens_service_pb2.SearchResponse(results=results)
        case ObjectFailure():
            failure = lens_service_pb2.ObjectFailure(
                object_id=event.object_id, reason=FAILURES[event.reason], message=event.message
            )
            return lens_service_pb2.SearchResponse(failure=failure)
        case Done():
            return lens_service_pb2.SearchResponse(done=to_done(event))
        case _:
            assert_never(event)


def is_result(response: lens_service_pb2.SearchResponse) -> bool:
    """True for a message about an object that was searched, or could not be."""
    return response.WhichOneof("event") in ("results", "failure")


def to_object(item: PhotoObject) -> lens_service_pb2.DetectedObject:
    """An object of the photo."""
    box = geometry_pb2.BoundingBox(
        x_min=item.box.x_min, y_min=item.box.y_min, x_max=item.box.x_max, y_max=item.box.y_max
    )
    return lens_service_pb2.DetectedObject(
        object_id=item.object_id,
        box=box,
        label=item.label,
        score=item.score,
        source=SOURCES[item.source],
        tap_box=TAP_BOXES[item.tap_box],
    )


def to_ranked(ranked: RankedProduct) -> product_pb2.RankedProduct:
    """A product in its place."""
    reasons = [
        product_pb2.Reason(kind=REASONS[reason.kind], contribution=reason.contribution, text=reason.text)
        for reason in ranked.reasons
    ]
    return product_pb2.RankedProduct(
        product=to_product(ranked.product),
        similarity=ranked.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=ranked.matched_image,
        level=LEVELS[ranked.level],
        reasons=reasons,
    )


def to_product(product: Product) -> product_pb2.Product:
    """A product of the catalog."""
    return product_pb2.Product(
        id=product.id,
        title=product.title,
        brand=product.brand,
        category=product.category,
        price=product.price,
        availability=product.availability,
        link=product.link,
        image_link=product.image_link,
        item_group_id=product.item_group_id,
        gtin=product.gtin,
        attributes=product.attributes,
    )


def to_done(done: Done) -> lens_service_pb2.Done:
    """The end of a stream."""
    return lens_service_pb2.Done(
        timings=to_timings(done.timings),
        catalog=done.catalog,
        catalog_revision=done.catalog_revision,
        detector=done.detector,
        embedder=done.embedder,
        applied_filter=done.applied_filter.text if done.applied_filter else "",
        filter_plan=to_plan(done.applied_filter.plan) if done.applied_filter else None,
        request_id=done.request_id,
        notice=NOTICES[done.notice],
        skipped=[SKIPPED[step] for step in done.skipped],
        text_weight=done.text_weight,
    )


def to_timings(timings: StageTimings) -> lens_service_pb2.StageTimings:
    """Seconds as milliseconds; each stage has a field of its name."""
    seconds = {**timings.stages, "queue": timings.queue, "total": timings.total}
    return lens_service_pb2.StageTimings(**{f"{name}_ms": value * 1e3 for name, value in seconds.items()})
