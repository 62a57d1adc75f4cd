"""Distinguishes the size limits that end a call: the client's, the server's, and gRPC's own.

gRPC answers all of them with RESOURCE_EXHAUSTED, the code of an overloaded server, and only its text tells them apart.
Rule: the client's own limit is recognized by a number that no server knows. gRPC is given `max_answer_bytes` and some
random bytes more as its limit, and quotes that number; what is between the two is measured here.
"""

import re
import secrets
from enum import Enum

SLACK = secrets.randbelow(4096) + 1024
"""Bytes by which the limit that gRPC gets is above the caller's."""

_SIZES = re.compile(r"larger than max \((\d+) vs\.? (\d+)\)")


class Limit(Enum):
    """The limit that a call ran into."""

    ANSWER = "an event of the answer is over the client's limit"
    REQUEST = "the request is over the server's message limit"
    SERVER_ANSWER = "an event of the answer is over the server's own message limit"
    METADATA = "the call's metadata is over the limit of gRPC"


def exceeded(text: str, grpc_limit: int, *, from_server: bool) -> Limit | None:
    """The limit behind gRPC's `text`, or None if it is about something else.

    `grpc_limit` is what the channel was opened with. `from_server` says that the status came with trailing metadata,
    which gRPC's own statuses never have.
    """
    sizes = _SIZES.search(text)
    if sizes is not None and int(sizes[2]) == grpc_limit:
        return Limit.ANSWER
    if from_server:
        return None
    # A request is never compressed by this client, so that only an answer can have been decompressed.
    if "Decompressed message larger than max" in text:
        return Limit.ANSWER
    if "metadata size exceeds" in text:
        return Limit.METADATA
    if re.search(r"(SERVER: Sent|to send) message larger than max", text):
        return Limit.SERVER_ANSWER
    return Limit.REQUEST if sizes is not None and "CLIENT" not in text else None


def answer_size(text: str) -> int:
    """The size of the message that gRPC's `text` quotes, or 0."""
    sizes = _SIZES.search(text)
    return int(sizes[1]) if sizes is not None else 0
