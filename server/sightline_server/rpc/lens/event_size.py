"""The size of one event of the stream.

Rule: no event is larger than what a gRPC client takes by default. A larger one would end the whole call at the client,
with an error that looks like an overloaded server's.
"""

from sightline.v1 import lens_service_pb2
from sightline_server.domain.events import Event, FailureReason, ObjectFailure, ObjectResults
from sightline_server.rpc.lens.convert import to_response

MAX_EVENT_BYTES = 4 * 1024 * 1024


def sendable(event: Event) -> tuple[Event, lens_service_pb2.SearchResponse]:
    """`event` and its message; results that are too large become the failure of their object.

    Only results hold texts of the catalog. All other events are some kilobytes.
    """
    response = to_response(event)
    if not isinstance(event, ObjectResults) or response.ByteSize() <= MAX_EVENT_BYTES:
        return event, response
    text = f"the products of this object take {response.ByteSize()} bytes, and {MAX_EVENT_BYTES} are sent at most; "
    failure = ObjectFailure(event.object_id, FailureReason.TOO_LARGE, f"{text}ask for fewer products (max_products)")
    return failure, to_response(failure)
