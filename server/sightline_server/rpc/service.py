"""The gRPC service: convert, ask the pipeline, convert. Start reading here.

Rule: nothing is decided here. `OpenCalls` and `Admission` decide who enters, `Uploads` reads the request, `Calls` says
how a call fails, the pipeline what happens. What can be refused without the photo is refused before it is read.
"""

from collections.abc import AsyncIterable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from sightline.v1 import lens_service_pb2
from sightline_server.admission.open_calls import OpenCalls
from sightline_server.admission.slots import Admission
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.events import ObjectFailure, ObjectResults
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.pipeline import Pipeline
from sightline_server.ports import Clock
from sightline_server.rpc.call import SEARCH, Call, Calls, Context
from sightline_server.rpc.convert import to_query
from sightline_server.rpc.event_size import sendable
from sightline_server.rpc.fields import parse
from sightline_server.rpc.reading import Uploads
from sightline_server.settings import LimitSettings


class LensService:
    """`sightline.v1.LensService`. `pipeline` is set once the engine and the index are there; admission knows.

    `on_too_large` is called for each object whose products do not fit into an event.
    """

    def __init__(
        self,
        *,
        calls: Calls,
        open_calls: OpenCalls,
        uploads: Uploads,
        admission: Admission,
        limits: LimitSettings,
        catalogs: CatalogNames,
        clock: Clock,
        one_per_group: bool = False,
        on_too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self._calls = calls
        self._open_calls = open_calls
        self._uploads = uploads
        self._admission = admission
        self._limits = limits
        self._catalogs = catalogs
        self._clock = clock
        self._one_per_group = one_per_group
        self._on_too_large = on_too_large
        self.pipeline: Pipeline | None = None

    def handlers(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        """The methods by name. They stream both ways and take bytes, so that gRPC reads no photo before they run.

        On the wire a call with one request is the same either way.
        """
        serialize = lens_service_pb2.SearchResponse.SerializeToString
        return {SEARCH: grpc.stream_stream_rpc_method_handler(self.Search, response_serializer=serialize)}

    # A coroutine that writes, not a generator: a cancellation or a timeout must reach the code below while a message is
    # on its way, and a generator would be suspended outside of it. grpc.aio takes both, its stubs know one.
    async def Search(self, messages: AsyncIterable[bytes], context: Context) -> None:
        """Streams the events of one search."""
        async with self._calls.open(SEARCH, context) as call:
            peer = context.peer()
            with self._open_calls.enter(peer):
                self._admission.check(deadline=call.deadline, lane=Lane.INTERACTIVE)
                async with self._uploads.receive(context, call, peer) as upload:
                    # The message is in no variable: what is made of it is all that stays in memory.
                    await self._answer(self._to_query(await upload.message(), call), call)

    async def _answer(self, query: SearchQuery, call: Call) -> None:
        with self._admission.enter(deadline=call.deadline, lane=query.lane) as visit:
            assert self.pipeline is not None, "admission lets nobody in before the pipeline stands"
            async with aclosing(self.pipeline.run(query)) as events:
                async for found in events:
                    event, response = sendable(found)
                    if isinstance(event, ObjectResults | ObjectFailure):
                        visit.answered()
                    if event is not found:
                        self._on_too_large()
                    await call.send(response, self._clock())

    def _to_query(self, raw: bytes, call: Call) -> SearchQuery:
        return to_query(
            parse(raw, self._limits),
            request_id=call.request_id,
            deadline=call.deadline,
            catalogs=self._catalogs,
            limits=self._limits,
            one_per_group=self._one_per_group,
        )
