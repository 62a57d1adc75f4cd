"""Between the contract's messages and the typed values, both ways.

Rule: total and forgiving towards newer servers: an enum value that this client does not know becomes UNKNOWN, an event
that it does not know becomes None and is passed over.
"""

from sightline_client.convert.events import event_from_pb, event_to_json, event_to_pb
from sightline_client.convert.requests import embeddings_request_to_pb, info_request_to_pb, request_to_pb

__all__ = [
    "embeddings_request_to_pb",
    "event_from_pb",
    "event_to_json",
    "event_to_pb",
    "info_request_to_pb",
    "request_to_pb",
]
