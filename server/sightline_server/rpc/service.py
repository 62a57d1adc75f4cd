"""The gRPC service: convert, ask the pipeline, convert. Start reading here.

Rule: nothing is decided here. Admission decides who enters, `Calls` how a call fails, the pipeline what happens.
"""

from contextlib import aclosing

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_server.domain.events import ObjectFailure, ObjectResults
from sightline_server.pipeline import Pipeline
from sightline_server.ports import Clock
from sightline_server.rpc.admission import Admission
from sightline_server.rpc.call import SEARCH, Calls, Context
from sightline_server.rpc.convert import to_query, to_response
from sightline_server.settings import LimitSettings


class LensService(lens_service_pb2_grpc.LensServiceServicer):
    """`sightline.v1.LensService`. `pipeline` is set once the engine and the index are there; admission knows."""

    def __init__(
        self,
        *,
        calls: Calls,
        admission: Admission,
        limits: LimitSettings,
        catalog: str,
        clock: Clock,
        one_per_group: bool = False,
    ) -> None:
        self._calls = calls
        self._admission = admission
        self._limits = limits
        self._catalog = catalog
        self._clock = clock
        self._one_per_group = one_per_group
        self.pipeline: Pipeline | None = None

    # A coroutine that writes, not a generator: a cancellation or a timeout must reach the code below while a message is
    # on its way, and a generator would be suspended outside of it. grpc.aio takes both, its stubs know one.
    async def Search(self, request: lens_service_pb2.SearchRequest, context: Context) -> None:  # type: ignore[override]
        """Streams the events of one search."""
        async with self._calls.open(SEARCH, context) as call:
            query = to_query(
                request,
                request_id=call.request_id,
                deadline=call.deadline,
                catalog=self._catalog,
                limits=self._limits,
                one_per_group=self._one_per_group,
            )
            with self._admission.enter(deadline=call.deadline, lane=query.lane) as visit:
                assert self.pipeline is not None, "admission lets nobody in before the pipeline stands"
                async with aclosing(self.pipeline.run(query)) as events:
                    async for event in events:
                        if isinstance(event, ObjectResults | ObjectFailure):
                            visit.answered()
                        await call.send(to_response(event), self._clock())
