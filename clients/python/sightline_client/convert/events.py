"""The events of a search, both ways, and as lines of JSON.

Rule: an event that this client does not know becomes None and is passed over.
"""

from google.protobuf import json_format

from sightline.v1 import lens_service_pb2
from sightline_client import events
from sightline_client.convert.done import done_from_pb, done_to_pb
from sightline_client.convert.objects import object_from_pb, object_to_pb
from sightline_client.convert.products import ranked_from_pb, ranked_to_pb

FAILURES = {
    events.FailureReason.UNKNOWN: lens_service_pb2.FAILURE_REASON_UNSPECIFIED,
    events.FailureReason.MODEL_ANSWER: lens_service_pb2.FAILURE_REASON_MODEL_ANSWER,
    events.FailureReason.INTERNAL: lens_service_pb2.FAILURE_REASON_INTERNAL,
    events.FailureReason.PERSON: lens_service_pb2.FAILURE_REASON_PERSON,
    events.FailureReason.TOO_LARGE: lens_service_pb2.FAILURE_REASON_TOO_LARGE,
}
_FAILURE_OF = {number: reason for reason, number in FAILURES.items()}


def event_from_pb(message: lens_service_pb2.SearchResponse) -> events.Event | None:
    """The typed event, or None for one that this client does not know."""
    match message.WhichOneof("event"):
        case "accepted":
            accepted = message.accepted
            return events.Accepted(accepted.request_id, accepted.catalog, accepted.catalog_revision)
        case "detected":
            detected = message.detected
            objects_found = tuple(object_from_pb(found) for found in detected.objects)
            return events.Detected(objects_found, detected.redacted, detected.further)
        case "results":
            ranked = tuple(ranked_from_pb(product) for product in message.results.products)
            return events.ObjectResults(message.results.object_id, ranked)
        case "failure":
            reason = _FAILURE_OF.get(message.failure.reason, events.FailureReason.UNKNOWN)
            return events.ObjectFailure(message.failure.object_id, reason, message.failure.message)
        case "done":
            return done_from_pb(message.done)
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
            objects = [object_to_pb(found) for found in event.objects]
            return lens_service_pb2.SearchResponse(
                detected=lens_service_pb2.Detected(objects=objects, redacted=event.redacted, further=event.further)
            )
        case events.ObjectResults():
            products = [ranked_to_pb(product) for product in event.products]
            results = lens_service_pb2.ObjectResults(object_id=event.object_id, products=products)
            return lens_service_pb2.SearchResponse(results=results)
        case events.ObjectFailure():
            failure = lens_service_pb2.ObjectFailure(
                object_id=event.object_id, reason=FAILURES[event.reason], message=event.message
            )
            return lens_service_pb2.SearchResponse(failure=failure)
        case events.Done():
            return lens_service_pb2.SearchResponse(done=done_to_pb(event))


def event_to_json(event: events.Event) -> str:
    """The event as one line in protobuf's JSON mapping; empty fields are printed, so that keys can be relied on."""
    return json_format.MessageToJson(event_to_pb(event), indent=None, always_print_fields_with_no_presence=True)
