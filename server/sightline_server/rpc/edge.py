"""The edge: the order in which every call of every service is taken. Start reading here.

    who calls, and may it use the method? (headers) -> its quota -> open calls, state, memory
    -> the message, in its time, counted by its quota -> walk over its fields -> parse
    -> may the caller use the catalog and the lane? -> validate -> does its grant count? -> the audit has its record
    -> a slot -> the grant is used up -> the service answers
Rule: nothing is decided here. What can be refused without the message is refused before it is read, and access is
decided before a request is validated (https://google.aip.dev/211), so a caller without rights learns nothing.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.checks import Access
from sightline_server.access.grants.claims import Grant
from sightline_server.access.grants.consent import Consent, Sent, no_consent
from sightline_server.access.principal import Caller, Presented
from sightline_server.access.quotas.quotas import Entered
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.slots import Admission
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.call import Call, Calls, Context
from sightline_server.rpc.consent import NOTHING, Announced, ConsentStep
from sightline_server.rpc.fields import parse
from sightline_server.rpc.method import Method, RequestT, ResponseT, Target
from sightline_server.rpc.peer import certificate_names
from sightline_server.rpc.reading import Uploads
from sightline_server.rpc.request_stream import Exchange, RequestStream, Respond

QueryT = TypeVar("QueryT")
SessionT = TypeVar("SessionT", bound=Message)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Validate: TypeAlias = Callable[[RequestT, CatalogPass, Call[ResponseT]], QueryT]
"""A request as a checked value. Raises `SightlineError` that names the field at fault."""
Answer: TypeAlias = Callable[[QueryT, CatalogPass, Call[ResponseT]], Awaitable[None]]
"""Sends the responses to a checked request. Raises `SightlineError`."""
PhotoOf: TypeAlias = Callable[[QueryT], Sent]
"""The photo of a checked request, or what it has in its place, which its grant must be for."""


class Session(Protocol[SessionT]):
    """A method that takes a stream of requests, the first of which says what it asks access to."""

    def target(self, first: bytes) -> Target:
        """The catalog and the lane that the first message asks access to.

        Raises `SightlineError` for bytes that are not a message.
        """

    def open(self, catalog: CatalogPass, call: Call[SessionT]) -> Respond[SessionT]:
        """The function that answers each message of `call`. Raises `SightlineError`."""


class Service(Protocol):
    """A service that a server offers."""

    @property
    def name(self) -> str:
        """Its full name."""

    def handlers(self) -> Mapping[str, Handler]:
        """Its methods by name."""


class Edge:
    """Takes calls in the order above; all services that share one share its limits."""

    def __init__(
        self,
        *,
        calls: Calls,
        access: Access,
        open_calls: OpenCalls,
        admission: Admission,
        uploads: Uploads,
        consent: Consent | None = None,
    ) -> None:
        """Without `consent` no grants are taken."""
        self._calls = calls
        self._access = access
        self._grants = ConsentStep(access, consent or no_consent())
        self._open_calls = open_calls
        self._admission = admission
        self._uploads = uploads
        self._stopping = asyncio.Event()

    def handler(
        self,
        method: Method[RequestT, ResponseT],
        validate: Validate[RequestT, ResponseT, QueryT],
        answer: Answer[QueryT, ResponseT],
        photo_of: PhotoOf[QueryT] | None = None,
    ) -> Handler:
        """The handler of `method`, for gRPC; `photo_of` is needed where the method takes grants.

        It streams both ways and takes bytes, so that gRPC reads no message before it runs. On the wire a call with one
        request is the same either way.
        """
        if (method.grant is None) != (photo_of is None):
            raise ValueError(f"{method.path}: a method that takes grants has a photo, and only such a method")
        self._calls.register(method)
        taken = Taken(method, validate, answer, photo_of)

        # A coroutine that writes, not a generator: a cancellation or a timeout must reach the code below while a
        # message is on its way, and a generator would be suspended outside of it. grpc.aio accepts both; its type
        # stubs know only one.
        async def handle(messages: AsyncIterable[bytes], context: "Context[ResponseT]") -> None:
            async with self._calls.open(method, context) as call, self._access.auditing(call.request_id):
                await self._take(taken, context, call)

        return grpc.stream_stream_rpc_method_handler(handle, response_serializer=method.response.SerializeToString)

    def stream_handler(self, method: Method[RequestT, ResponseT], session: Session[ResponseT]) -> Handler:
        """The handler of a `method` that takes a stream of requests, for gRPC."""
        self._calls.register(method)

        async def handle(messages: AsyncIterable[bytes], context: "Context[ResponseT]") -> None:
            async with self._calls.open(method, context) as call, self._access.auditing(call.request_id):
                await self._take_stream(method, session, context, call)

        return grpc.stream_stream_rpc_method_handler(handle, response_serializer=method.response.SerializeToString)

    def stop_streams(self) -> None:
        """Reads no further request of any stream; what was read is answered, then the call ends."""
        self._stopping.set()

    async def _take_stream(
        self,
        method: Method[RequestT, ResponseT],
        session: Session[ResponseT],
        context: "Context[ResponseT]",
        call: Call[ResponseT],
    ) -> None:
        caller = self._identified(method, context, call)
        peer = context.peer()
        with self._access.quotas.of(caller.principal.name) as quota, self._open_calls.enter(peer):
            self._admission.check(deadline=call.deadline, lane=Lane.INTERACTIVE, share=quota.share)
            with RequestStream(self._uploads, context, call, peer, self._stopping, quota.charge) as stream:
                first = await stream.next()
                if first is None:
                    raise SightlineError(ErrorKind.INVALID_REQUEST, "the call ended without a request")
                try:
                    catalog = self._authorised(caller, session.target(first.raw))
                    respond = session.open(catalog, call)
                    await self._access.audited(call.request_id)
                    with self._admission.enter(deadline=call.deadline, lane=catalog.lane, share=quota.share) as visit:
                        call.visit = visit
                        await Exchange(stream, respond, call).run(first)
                finally:
                    first.release()

    def _identified(self, method: Method[Any, Any], context: "Context[ResponseT]", call: Call[ResponseT]) -> Caller:
        caller = self._access.identify(
            Presented(context.invocation_metadata() or (), partial(certificate_names, context), context.peer),
            service=method.service,
            method=method.name,
            request_id=call.request_id,
        )
        call.identified(caller.principal.name)
        return caller

    def _authorised(self, caller: Caller, target: Target) -> CatalogPass:
        if target.whole_server:
            return self._access.authorise_server(caller, target.lane)
        return self._access.authorise(caller, target.catalog, target.lane)

    async def _take(
        self, taken: "Taken[RequestT, ResponseT, QueryT]", context: "Context[ResponseT]", call: Call[ResponseT]
    ) -> None:
        caller = self._identified(taken.method, context, call)
        peer = context.peer()
        with self._access.quotas.of(caller.principal.name) as quota, self._open_calls.enter(peer):
            self._admission.check(deadline=call.deadline, lane=Lane.INTERACTIVE, share=quota.share)
            announced = NOTHING
            if taken.method.grant is not None:
                announced = self._grants.announced(context.invocation_metadata() or (), caller)
            async with self._uploads.receive(context, call, peer) as upload:
                # No variable keeps the message, so that only the parsed request stays in memory.
                checked = partial(self._checked, taken, caller, announced, call, quota)
                await self._answer(taken, call, caller, quota, checked(await upload.message()))

    def _checked(
        self,
        taken: "Taken[RequestT, ResponseT, QueryT]",
        caller: Caller,
        announced: Announced,
        call: Call[ResponseT],
        quota: Entered,
        raw: bytes,
    ) -> "Checked[QueryT]":
        """The request as a checked value, the pass to its catalog, and its grant."""
        quota.charge(len(raw))
        method = taken.method
        request = parse(raw, method.request, method.bounds)
        target = method.target(request)
        if method.grant is None:
            catalog = self._authorised(caller, target)
            return Checked(taken.validate(request, catalog, call), catalog, None)
        text = method.grant(request)
        catalog = self._grants.authorised(caller, announced, target, text)
        query = taken.validate(request, catalog, call)
        return Checked(query, catalog, self._grants.settled(caller, announced, catalog, text))

    async def _answer(
        self,
        taken: "Taken[RequestT, ResponseT, QueryT]",
        call: Call[ResponseT],
        caller: Caller,
        quota: Entered,
        checked: "Checked[QueryT]",
    ) -> None:
        await self._access.audited(call.request_id)
        with self._admission.enter(deadline=call.deadline, lane=checked.catalog.lane, share=quota.share) as visit:
            call.visit = visit
            if checked.grant is not None and taken.photo_of is not None:
                # Now that there is a slot: a refusal for overload does not cost the person a new tap.
                await self._grants.use(caller, checked.catalog, checked.grant, taken.photo_of(checked.query))
                call.grant = checked.grant
            await taken.answer(checked.query, checked.catalog, call)


@dataclass(frozen=True, slots=True)
class Taken(Generic[RequestT, ResponseT, QueryT]):
    """A method that takes one request, and the functions of its service."""

    method: Method[RequestT, ResponseT]
    validate: Validate[RequestT, ResponseT, QueryT]
    answer: Answer[QueryT, ResponseT]
    photo_of: PhotoOf[QueryT] | None


@dataclass(frozen=True, slots=True)
class Checked(Generic[QueryT]):
    """A request that may be answered: its checked value, the pass to its catalog, and its grant where it needs one."""

    query: QueryT
    catalog: CatalogPass
    grant: Grant | None
