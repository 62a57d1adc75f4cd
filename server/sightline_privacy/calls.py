"""Calls over the real channel, as a caller makes them: whole messages, and everything that a refusal says.

Rule: nothing is retried and nothing is left out, so that what the server sent is what is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sightline.v1 import lens_service_pb2 as pb
from sightline_client import credentials
from sightline_client.channels import SEARCH, SERVER_INFO, Channels
from sightline_client.errors import SightlineError
from sightline_client.options import ClientOptions
from sightline_client.status import error_from_call

Metadata = tuple[tuple[str, str], ...]
Method = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
UnaryMethod = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a call: its events, and for a refusal its code, reason and everything that it said, as text."""

    name: str
    events: Sequence[pb.SearchResponse] = ()
    code: str = "OK"
    reason: str = ""
    said: str = field(default="", repr=False)
    request_id: str = ""

    @property
    def succeeded(self) -> bool:
        """True if the call ended without an error."""
        return self.code == "OK"


class Caller:
    """One principal, with its own connection."""

    def __init__(self, options: ClientOptions, metadata: Metadata = ()) -> None:
        """`metadata` goes with each call. Raises `ConfigurationError`."""
        self._options = options
        self._channels = Channels(options)
        self._metadata = metadata

    async def close(self) -> None:
        """Closes the connection."""
        self._channels.begin_close()
        await self._channels.close()

    async def search(
        self, name: str, request: pb.SearchRequest, *, grant: str = "", timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """The outcome of one search, under `grant` where one is given."""
        if grant:
            request.grant = grant
        metadata = credentials.grant_metadata(grant or None)
        return await self.call(name, SEARCH, request.SerializeToString(), metadata, timeout_s)

    async def info(self, catalog: str, timeout_s: float = TIMEOUT_S) -> pb.GetServerInfoResponse | None:
        """The server's description of a catalog; None where it gives none to this caller."""
        metadata = (*await credentials.metadata(self._options.token, timeout_s), *self._metadata)
        method: UnaryMethod = self._channels.next().unary_unary(SERVER_INFO)
        request = pb.GetServerInfoRequest(catalog=catalog)
        try:
            return pb.GetServerInfoResponse.FromString(
                await method(request.SerializeToString(), timeout=timeout_s, metadata=metadata)
            )
        except (grpc.aio.AioRpcError, DecodeError):
            return None

    async def call(
        self, name: str, path: str, message: bytes, metadata: Metadata = (), timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """The outcome of a call of any method. Raises `SightlineError` where no token can be had."""
        metadata = (*await credentials.metadata(self._options.token, timeout_s), *self._metadata, *metadata)
        method: Method = self._channels.next().unary_stream(path)
        call = method(message, timeout=timeout_s, metadata=metadata)
        events: list[pb.SearchResponse] = []
        try:
            async for raw in call:
                events.append(pb.SearchResponse.FromString(raw))  # noqa: PERF401 (kept where the call fails)
        except grpc.aio.AioRpcError as error:
            known = error_from_call(error, (), self._options)
            request_id = known.request_id or accepted_id(events)
            return Outcome(name, events, error.code().name, known.reason, said(error), request_id)
        except DecodeError:
            return Outcome(name, events, "INTERNAL", "NOT_A_SIGHTLINE_SERVER")
        return Outcome(name, events, request_id=accepted_id(events))


def accepted_id(events: Sequence[pb.SearchResponse]) -> str:
    """The request id of an answer."""
    return next((event.accepted.request_id for event in events if event.WhichOneof("event") == "accepted"), "")


def said(error: grpc.aio.AioRpcError) -> str:
    """The text and all metadata of an error, on one line each."""
    lines = [error.details() or ""]
    for key, value in (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())):
        lines.append(f"{key}: {value if isinstance(value, str) else bytes(value).decode(errors='replace')}")
    return "\n".join(lines)


class UnreachableError(SightlineError):
    """The server cannot be used for a verification."""
