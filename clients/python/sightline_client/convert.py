"""Between the contract's messages and the typed values, both ways.

Rule: total and forgiving towards newer servers: an enum value that this client does not know becomes UNKNOWN, an event
that it does not know becomes None and is passed over.
"""

from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from google.protobuf import json_format

from sightline.v1 import geometry_pb2, lens_service_pb2, product_pb2
from sightline_client import events
from sightline_client.filters import Filter

_E = TypeVar("_E", bound=Enum)

_SOURCES = {
    events.ObjectSource.UNKNOWN: lens_service_pb2.OBJECT_SOURCE_UNSPECIFIED,
    events.ObjectSource.DETECTOR: lens_service_pb2.OBJECT_SOURCE_DETECTOR,
    events.ObjectSource.BOX: lens_service_pb2.OBJECT_SOURCE_BOX,
    events.ObjectSource.TAP: lens_service_pb2.OBJECT_SOURCE_TAP,
    events.ObjectSource.WHOLE_PHOTO: lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO,
    events.ObjectSource.CODE: lens_service_pb2.OBJECT_SOURCE_CODE,
    events.ObjectSource.EMBEDDING: lens_service_pb2.OBJECT_SOURCE_EMBEDDING,
    events.ObjectSource.CROP: lens_service_pb2.OBJECT_SOURCE_CROP,
}
_TAP_BOXES = {
    events.TapBox.UNKNOWN: lens_service_pb2.TAP_BOX_UNSPECIFIED,
    events.TapBox.DETECTION: lens_service_pb2.TAP_BOX_DETECTION,
    events.TapBox.GROWN: lens_service_pb2.TAP_BOX_GROWN,
    events.TapBox.SQUARE: lens_service_pb2.TAP_BOX_SQUARE,
}
_LEVELS = {
    events.MatchLevel.UNKNOWN: product_pb2.MATCH_LEVEL_UNSPECIFIED,
    events.MatchLevel.WEAK: product_pb2.MATCH_LEVEL_WEAK,
    events.MatchLevel.SIMILAR: product_pb2.MATCH_LEVEL_SIMILAR,
    events.MatchLevel.SAME_ITEM: product_pb2.MATCH_LEVEL_SAME_ITEM,
}
_REASONS = {
    events.ReasonKind.UNKNOWN: product_pb2.REASON_KIND_UNSPECIFIED,
    events.ReasonKind.VISUAL_SIMILARITY: product_pb2.REASON_KIND_VISUAL_SIMILARITY,
    events.ReasonKind.CATEGORY_MATCH: product_pb2.REASON_KIND_CATEGORY_MATCH,
    events.ReasonKind.UNAVAILABLE: product_pb2.REASON_KIND_UNAVAILABLE,
    events.ReasonKind.CODE: product_pb2.REASON_KIND_CODE,
    events.ReasonKind.LOCAL_FEATURES: product_pb2.REASON_KIND_LOCAL_FEATURES,
    events.ReasonKind.COLOUR: product_pb2.REASON_KIND_COLOUR,
    events.ReasonKind.PRINTED_TEXT: product_pb2.REASON_KIND_PRINTED_TEXT,
}
_FAILURES = {
    events.FailureReason.UNKNOWN: lens_service_pb2.FAILURE_REASON_UNSPECIFIED,
    events.FailureReason.MODEL_ANSWER: lens_service_pb2.FAILURE_REASON_MODEL_ANSWER,
    events.FailureReason.INTERNAL: lens_service_pb2.FAILURE_REASON_INTERNAL,
    events.FailureReason.PERSON: lens_service_pb2.FAILURE_REASON_PERSON,
    events.FailureReason.TOO_LARGE: lens_service_pb2.FAILURE_REASON_TOO_LARGE,
}
_NOTICES = {
    events.Notice.UNKNOWN: lens_service_pb2.NOTICE_UNSPECIFIED,
    events.Notice.PERSON_ONLY: lens_service_pb2.NOTICE_PERSON_ONLY,
}
_SKIPPED = {
    events.SkippedStep.UNKNOWN: lens_service_pb2.SKIPPED_STEP_UNSPECIFIED,
    events.SkippedStep.CODES: lens_service_pb2.SKIPPED_STEP_CODES,
    events.SkippedStep.LOCAL_FEATURES: lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES,
    events.SkippedStep.LOOK_CLOSER: lens_service_pb2.SKIPPED_STEP_LOOK_CLOSER,
    events.SkippedStep.PRINTED_TEXT: lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT,
}
_PLANS = {
    events.FilterPlanKind.UNKNOWN: lens_service_pb2.FILTER_PLAN_KIND_UNSPECIFIED,
    events.FilterPlanKind.NO_MATCH: lens_service_pb2.FILTER_PLAN_KIND_NO_MATCH,
    events.FilterPlanKind.ALL: lens_service_pb2.FILTER_PLAN_KIND_ALL,
    events.FilterPlanKind.GATHER: lens_service_pb2.FILTER_PLAN_KIND_GATHER,
    events.FilterPlanKind.SELECTOR: lens_service_pb2.FILTER_PLAN_KIND_SELECTOR,
    events.FilterPlanKind.EXACT: lens_service_pb2.FILTER_PLAN_KIND_EXACT,
}
_LANES = {
    events.Lane.INTERACTIVE: lens_service_pb2.LANE_INTERACTIVE,
    events.Lane.BATCH: lens_service_pb2.LANE_BATCH,
}
_SOURCE_OF = {number: source for source, number in _SOURCES.items()}
_TAP_BOX_OF = {number: tap_box for tap_box, number in _TAP_BOXES.items()}
_LEVEL_OF = {number: level for level, number in _LEVELS.items()}
_REASON_OF = {number: kind for kind, number in _REASONS.items()}
_FAILURE_OF = {number: reason for reason, number in _FAILURES.items()}
_PLAN_OF = {number: kind for kind, number in _PLANS.items()}
_SKIPPED_OF = {number: step for step, number in _SKIPPED.items()}
_NOTICE_OF = {number: notice for notice, number in _NOTICES.items()}


def request_to_pb(
    photo: bytes = b"",
    *,
    crops: Sequence[bytes] = (),
    regions: Sequence[events.Region] = (),
    catalog: str = "",
    max_objects: int = 0,
    max_products: int = 0,
    min_similarity: float = 0.0,
    lane: events.Lane = events.Lane.INTERACTIVE,
    one_per_group: bool | None = None,
    filter: Filter | None = None,
    grant: str | None = None,
    text: str | None = None,
    text_weight: float | None = None,
    look_closer: bool = False,
) -> lens_service_pb2.SearchRequest:
    """The request message, of a photo or of crops.

    Its parameters are those of the contract; 0, empty and None mean the server's default.
    """
    return lens_service_pb2.SearchRequest(
        photo=photo,
        crops=crops,
        regions=[_region_to_pb(region) for region in regions],
        catalog=catalog,
        max_objects=max_objects,
        max_products=max_products,
        min_similarity=min_similarity,
        lane=_LANES[lane],
        one_per_group=one_per_group,
        filter=None if filter is None else _filter_to_pb(filter),
        grant=grant or "",
        text=text,
        text_weight=text_weight,
        look_closer=look_closer,
    )


def embeddings_request_to_pb(
    embedder: str,
    vectors: Sequence[bytes],
    *,
    catalog: str = "",
    max_products: int = 0,
    min_similarity: float = 0.0,
    lane: events.Lane = events.Lane.INTERACTIVE,
    one_per_group: bool | None = None,
    filter: Filter | None = None,
    grant: str | None = None,
    text: str | None = None,
    text_weight: float | None = None,
) -> lens_service_pb2.SearchEmbeddingsRequest:
    """The request message of a search of embeddings; 0, empty and None mean the server's default."""
    return lens_service_pb2.SearchEmbeddingsRequest(
        embedder=embedder,
        vectors=vectors,
        catalog=catalog,
        max_products=max_products,
        min_similarity=min_similarity,
        lane=_LANES[lane],
        one_per_group=one_per_group,
        filter=None if filter is None else _filter_to_pb(filter),
        grant=grant or "",
        text=text,
        text_weight=text_weight,
    )


def info_request_to_pb(catalog: str, lane: events.Lane) -> lens_service_pb2.GetServerInfoRequest:
    """The request message for what a server says about itself."""
    return lens_service_pb2.GetServerInfoRequest(catalog=catalog, lane=_LANES[lane])


def event_from_pb(message: lens_service_pb2.SearchResponse) -> events.Event | None:
    """The typed event, or None for one that this client does not know."""
    match message.WhichOneof("event"):
        case "accepted":
            accepted = message.accepted
            return events.Accepted(accepted.request_id, accepted.catalog, accepted.catalog_revision)
        case "detected":
            detected = message.detected
            objects_found = tuple(_object_from_pb(found) for found in detected.objects)
            return events.Detected(objects_found, detected.redacted, detected.further)
        case "results":
            ranked = tuple(_ranked_from_pb(product) for product in message.results.products)
            return events.ObjectResults(message.results.object_id, ranked)
        case "failure":
            reason = _FAILURE_OF.get(message.failure.reason, events.FailureReason.UNKNOWN)
            return events.ObjectFailure(message.failure.object_id, reason, message.failure.message)
        case "done":
            return _done_from_pb(message.done)
        case _:
            return None


def event_to_pb(event: events.Event) -> lens_service_pb2.SearchResponse:
    """The message of a typed event."""
    match event:
        case events.Accepted():
            return lens_service_pb2.SearchResponse(
                accepted=lens_service_pb2.Accepted(
                    request_id=event.request_id, catalog=event.catalog, catalog_revision=event.catalog_revision
                )
            )
        case events.Detected():
            objects = [_object_to_pb(found) for found in event.objects]
            return lens_service_pb2.SearchResponse(
                detected=lens_service_pb2.Detected(objects=objects, redacted=event.redacted, further=event.further)
            )
        case events.ObjectResults():
            products = [_ranked_to_pb(product) for product in event.products]
            results = lens_service_pb2.ObjectResults(object_id=event.object_id, products=products)
            return lens_service_pb2.SearchResponse(results=results)
        case events.ObjectFailure():
            failure = lens_service_pb2.ObjectFailure(
                object_id=event.object_id, reason=_FAILURES[event.reason], message=event.message
            )
            return lens_service_pb2.SearchResponse(failure=failure)
        case events.Done():
            return lens_service_pb2.SearchResponse(done=_done_to_pb(event))


def event_to_json(event: events.Event) -> str:
    """The event as one line in protobuf's JSON mapping; empty fields are printed, so that keys can be relied on."""
    return json_format.MessageToJson(event_to_pb(event), indent=None, always_print_fields_with_no_presence=True)


def _filter_to_pb(wanted: Filter) -> lens_service_pb2.Filter:
    prices = [
        lens_service_pb2.PriceRange(currency=each.currency, minimum=_bound(each.minimum), maximum=_bound(each.maximum))
        for each in wanted.prices
    ]
    return lens_service_pb2.Filter(
        brands=wanted.brands,
        categories=wanted.categories,
        price=prices[0] if prices else None,
        prices=prices[1:],
        availabilities=wanted.availabilities,
        attributes=[
            lens_service_pb2.AttributeCondition(name=name, values=each) for name, each in wanted.attributes.items()
        ],
        product_ids=wanted.product_ids,
        item_group_ids=wanted.item_group_ids,
        excluded_product_ids=wanted.excluded_product_ids,
        excluded_item_group_ids=wanted.excluded_item_group_ids,
    )


def _bound(bound: float | Decimal | None) -> float | None:
    return None if bound is None else float(bound)


def _region_to_pb(region: events.Region) -> geometry_pb2.Region:
    if isinstance(region, events.Point):
        return geometry_pb2.Region(tap=geometry_pb2.Point(x=region.x, y=region.y))
    return geometry_pb2.Region(box=_box_to_pb(region))


def _box_to_pb(box: events.Box) -> geometry_pb2.BoundingBox:
    return geometry_pb2.BoundingBox(x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max)


def _object_from_pb(found: lens_service_pb2.DetectedObject) -> events.DetectedObject:
    return events.DetectedObject(
        object_id=found.object_id,
        box=events.Box(found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max),
        label=found.label,
        score=found.score,
        source=_SOURCE_OF.get(found.source, events.ObjectSource.UNKNOWN),
        tap_box=_tap_box_from_pb(found.tap_box),
    )


def _object_to_pb(found: events.DetectedObject) -> lens_service_pb2.DetectedObject:
    return lens_service_pb2.DetectedObject(
        object_id=found.object_id,
        box=_box_to_pb(found.box),
        label=found.label,
        score=found.score,
        source=_SOURCES[found.source],
        tap_box=_TAP_BOXES[found.tap_box or events.TapBox.UNKNOWN],
    )


def _tap_box_from_pb(number: lens_service_pb2.TapBox) -> events.TapBox | None:
    return None if number == lens_service_pb2.TAP_BOX_UNSPECIFIED else _TAP_BOX_OF.get(number, events.TapBox.UNKNOWN)


_PRODUCT_TEXTS = ("id", "title", "brand", "category", "price", "availability", "link", "image_link", "item_group_id")


def _product_from_pb(product: product_pb2.Product) -> events.Product:
    texts = {name: getattr(product, name) for name in _PRODUCT_TEXTS}
    return events.Product(**texts, gtin=product.gtin, attributes=dict(product.attributes))


def _product_to_pb(product: events.Product) -> product_pb2.Product:
    texts = {name: getattr(product, name) for name in _PRODUCT_TEXTS}
    return product_pb2.Product(**texts, gtin=product.gtin, attributes=dict(product.attributes))


def _ranked_from_pb(ranked: product_pb2.RankedProduct) -> events.RankedProduct:
    return events.RankedProduct(
        product=_product_from_pb(ranked.product),
        similarity=ranked.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=ranked.matched_image,
        level=_LEVEL_OF.get(ranked.level, events.MatchLevel.UNKNOWN),
        reasons=tuple(
            events.Reason(_REASON_OF.get(reason.kind, events.ReasonKind.UNKNOWN), reason.contribution, reason.text)
            for reason in ranked.reasons
        ),
    )


def _ranked_to_pb(ranked: events.RankedProduct) -> product_pb2.RankedProduct:
    return product_pb2.RankedProduct(
        product=_product_to_pb(ranked.product),
        similarity=ranked.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=ranked.matched_image,
        level=_LEVELS[ranked.level],
        reasons=[
            product_pb2.Reason(kind=_REASONS[reason.kind], contribution=reason.contribution, text=reason.text)
            for reason in ranked.reasons
        ],
    )


_TIMINGS = tuple(field.name for field in fields(events.StageTimings))


def _done_from_pb(done: lens_service_pb2.Done) -> events.Done:
    return events.Done(
        timings=events.StageTimings(**{name: getattr(done.timings, name) for name in _TIMINGS}),
        catalog=done.catalog,
        catalog_revision=done.catalog_revision,
        detector=done.detector,
        embedder=done.embedder,
        request_id=done.request_id,
        applied_filter=done.applied_filter,
        filter_plan=_plan_from_pb(done.filter_plan) if done.HasField("filter_plan") else None,
        notice=_notice_from_pb(done.notice),
        skipped=tuple(_SKIPPED_OF.get(number, events.SkippedStep.UNKNOWN) for number in done.skipped),
        text_weight=done.text_weight,
    )


def _plan_from_pb(plan: lens_service_pb2.FilterPlan) -> events.FilterPlan:
    return events.FilterPlan(_PLAN_OF.get(plan.kind, events.FilterPlanKind.UNKNOWN), plan.products, plan.images)


def _plan_to_pb(plan: events.FilterPlan) -> lens_service_pb2.FilterPlan:
    return lens_service_pb2.FilterPlan(kind=_PLANS[plan.kind], products=plan.products, images=plan.images)


def _notice_from_pb(number: lens_service_pb2.Notice) -> events.Notice | None:
    return None if number == lens_service_pb2.NOTICE_UNSPECIFIED else _NOTICE_OF.get(number, events.Notice.UNKNOWN)


def _done_to_pb(done: events.Done) -> lens_service_pb2.Done:
    return lens_service_pb2.Done(
        timings=lens_service_pb2.StageTimings(**{name: getattr(done.timings, name) for name in _TIMINGS}),
        catalog=done.catalog,
        catalog_revision=done.catalog_revision,
        detector=done.detector,
        embedder=done.embedder,
        applied_filter=done.applied_filter,
        request_id=done.request_id,
        filter_plan=None if done.filter_plan is None else _plan_to_pb(done.filter_plan),
        notice=_NOTICES[done.notice or events.Notice.UNKNOWN],
        skipped=[_SKIPPED[step] for step in done.skipped],
        text_weight=done.text_weight,
    )
