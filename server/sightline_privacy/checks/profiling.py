"""No profiling: who asks, from where and in which language changes nothing in an answer."""

from collections.abc import Iterator, Sequence
from typing import Any

from sightline.v1 import lens_service_pb2 as pb
from sightline_client.options import ClientOptions
from sightline_privacy.calls import Caller, Metadata
from sightline_privacy.canary import Canary
from sightline_privacy.conversation import Grants
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, broken, holds, not_checked

ROUNDS = 3
"""An answer may change between two calls, such as with a new revision of the catalog; not each time."""
PERSONAL = (
    "user",
    "person_id",
    "customer",
    "session",
    "device",
    "account",
    "visitor",
    "cookie",
    "email",
    "gender",
    "age",
)
REQUESTS: tuple[Any, ...] = (pb.SearchRequest.DESCRIPTOR, pb.SearchEmbeddingsRequest.DESCRIPTOR)
"""The requests of searches."""
DISGUISES: tuple[Metadata, ...] = (
    (("accept-language", "de"), ("x-user-id", "1"), ("cookie", "visitor=1"), ("x-forwarded-for", "203.0.113.1")),
    (("accept-language", "fr"), ("x-user-id", "2"), ("cookie", "visitor=2"), ("x-forwarded-for", "203.0.113.2")),
)
"""Metadata by which a server could tell callers apart."""


def fields_about_callers(message: Any, seen: set[str] | None = None) -> Iterator[str]:
    """Fields of a message, and of those in it, by which a caller could say who the person is."""
    seen = set() if seen is None else seen
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for each in message.fields:
        if set(each.name.split("_")) & set(PERSONAL) or each.name in PERSONAL:
            yield each.full_name
        if each.message_type is not None:
            yield from fields_about_callers(each.message_type, seen)


def without_the_call(events: Sequence[pb.SearchResponse]) -> list[bytes]:
    """The events as sorted bytes, without what is of the call alone: its id and its times."""
    found = []
    for event in events:
        copy = pb.SearchResponse()
        copy.CopyFrom(event)
        kind = copy.WhichOneof("event")
        if kind == "accepted":
            copy.accepted.request_id = ""
        elif kind == "done":
            copy.done.request_id = ""
            copy.done.ClearField("timings")
        found.append(copy.SerializeToString(deterministic=True))
    return sorted(found)


async def same_for_all(
    options: ClientOptions, other: ClientOptions | None, canary: Canary, catalog: str, grants: Grants
) -> Result:
    """The answers to the same photo, asked by two principals, or by one in two disguises."""
    personal = [name for request in REQUESTS for name in fields_about_callers(request)]
    if personal:
        return broken(Promise.NO_PROFILING, [f"the contract has the field {name}" for name in personal])
    callers = [Caller(options, DISGUISES[0]), Caller(other or options, DISGUISES[1])]
    try:
        for _ in range(ROUNDS):
            request = pb.SearchRequest(photo=canary.jpeg, catalog=catalog)
            outcomes = [await each.search("a photo", request, grant=grants(request.photo)) for each in callers]
            if failed := [each for each in outcomes if not each.succeeded]:
                return not_checked(Promise.NO_PROFILING, f"a search failed: {failed[0].code} {failed[0].reason}")
            first, second = (without_the_call(each.events) for each in outcomes)
            if first == second:
                who = "two principals" if other is not None else "one principal (--other-token-file gives another)"
                return holds(Promise.NO_PROFILING, f"same bytes for {who} with other metadata")
    finally:
        for each in callers:
            await each.close()
    return broken(Promise.NO_PROFILING, ["two callers get different answers to the same photo"])
