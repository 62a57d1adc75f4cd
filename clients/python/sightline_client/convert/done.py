"""The last event of a search, both ways: its timings, its filter plan and its notes."""

from dataclasses import fields

from sightline.v1 import lens_service_pb2
from sightline_client import events

NOTICES = {
    events.Notice.UNKNOWN: lens_service_pb2.NOTICE_UNSPECIFIED,
    events.Notice.PERSON_ONLY: lens_service_pb2.NOTICE_PERSON_ONLY,
}
SKIPPED = {
    events.SkippedStep.UNKNOWN: lens_service_pb2.SKIPPED_STEP_UNSPECIFIED,
    events.SkippedStep.CODES: lens_service_pb2.SKIPPED_STEP_CODES,
    events.SkippedStep.LOCAL_FEATURES: lens_service_pb2.SKIPPED_STEP_LOCAL_FEATURES,
    events.SkippedStep.LOOK_CLOSER: lens_service_pb2.SKIPPED_STEP_LOOK_CLOSER,
    events.SkippedStep.PRINTED_TEXT: lens_service_pb2.SKIPPED_STEP_PRINTED_TEXT,
}
PLANS = {
    events.FilterPlanKind.UNKNOWN: lens_service_pb2.FILTER_PLAN_KIND_UNSPECIFIED,
    events.FilterPlanKind.NO_MATCH: lens_service_pb2.FILTER_PLAN_KIND_NO_MATCH,
    events.FilterPlanKind.ALL: lens_service_pb2.FILTER_PLAN_KIND_ALL,
    events.FilterPlanKind.GATHER: lens_service_pb2.FILTER_PLAN_KIND_GATHER,
    events.FilterPlanKind.SELECTOR: lens_service_pb2.FILTER_PLAN_KIND_SELECTOR,
    events.FilterPlanKind.EXACT: lens_service_pb2.FILTER_PLAN_KIND_EXACT,
}
_NOTICE_OF = {number: notice for notice, number in NOTICES.items()}
_SKIPPED_OF = {number: step for step, number in SKIPPED.items()}
_PLAN_OF = {number: kind for kind, number in PLANS.items()}
_TIMINGS = tuple(field.name for field in fields(events.StageTimings))


def done_from_pb(done: lens_service_pb2.Done) -> events.Done:
    """The typed event; notices, skipped steps and filter plans that this client does not know are UNKNOWN."""
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


def done_to_pb(done: events.Done) -> lens_service_pb2.Done:
    """The message of the event."""
    return lens_service_pb2.Done(
        timings=lens_service_pb2.StageTimings(**{name: getattr(done.timings, name) for name in _TIMINGS}),
        catalog=done.catalog,
        catalog_revision=done.catalog_revision,
        detector=done.detector,
        embedder=done.embedder,
        applied_filter=done.applied_filter,
        request_id=done.request_id,
        filter_plan=None if done.filter_plan is None else _plan_to_pb(done.filter_plan),
        notice=NOTICES[done.notice or events.Notice.UNKNOWN],
        skipped=[SKIPPED[step] for step in done.skipped],
        text_weight=done.text_weight,
    )


def _plan_from_pb(plan: lens_service_pb2.FilterPlan) -> events.FilterPlan:
    return events.FilterPlan(_PLAN_OF.get(plan.kind, events.FilterPlanKind.UNKNOWN), plan.products, plan.images)


def _plan_to_pb(plan: events.FilterPlan) -> lens_service_pb2.FilterPlan:
    return lens_service_pb2.FilterPlan(kind=PLANS[plan.kind], products=plan.products, images=plan.images)


def _notice_from_pb(number: lens_service_pb2.Notice) -> events.Notice | None:
    return None if number == lens_service_pb2.NOTICE_UNSPECIFIED else _NOTICE_OF.get(number, events.Notice.UNKNOWN)
