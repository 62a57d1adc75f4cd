"""A LensService in this process that plays a script, for the client's contract tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc, product_pb2
from sightline_client import convert, events

CHAIR = events.DetectedObject("o1", events.Box(0.25, 0.5, 0.5, 1.0), "chair", 0.75, events.ObjectSource.DETECTOR)
VASE = events.DetectedObject("o2", events.Box(0.0, 0.0, 0.125, 0.25), "vase", 0.5, events.ObjectSource.DETECTOR)


def ranked(product_id: str, rank: int, similarity: float = 0.5) -> events.RankedProduct:
    """A product with every field filled; floats are exact in float32."""
    return events.RankedProduct(
        product=events.Product(
            id=product_id,
            title=f"Title of {product_id}",
            brand="Nordhem",
            category="Furniture > Chairs",
            price="15.00 USD",
            availability="in_stock",
            link=f"https://shop.example/{product_id}",
            image_link=f"products/{product_id}.jpg",
            item_group_id="g1",
            gtin="4006381333931",
            attributes={"color": "red"},
        ),
        similarity=similarity,
        score=similarity + 0.125,
        rank=rank,
        matched_image=f"products/{product_id}.jpg",
        level=events.MatchLevel.SIMILAR,
        reasons=(events.Reason(events.ReasonKind.VISUAL_SIMILARITY, similarity, "resembles its image"),),
    )


DONE = events.Done(events.StageTimings(1, 2, 3, 4, 5, 6, 7, 28), "rev-1", "detector@1", "embedder@1", "req-1")
ANSWER: tuple[events.Event, ...] = (
    events.Accepted("req-1"),
    events.Detected((CHAIR, VASE)),
    events.ObjectResults("o2", (ranked("p1", 1), ranked("p2", 2, 0.25))),
    events.ObjectFailure("o1", events.FailureReason.MODEL_ANSWER, "the embedder's answer cannot be used"),
    DONE,
)


def status_of(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    """A `google.rpc.Status` with packed details."""
    packed = []
    for detail in details:
        each = any_pb2.Any()
        each.Pack(detail)
        packed.append(each)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def unavailable(retry_after_s: float | None = None) -> status_pb2.Status:
    """The server's word while its engine is away."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason="ENGINE_UNAVAILABLE", domain="sightline")]
    if retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
        details.append(retry)
    return status_of(grpc.StatusCode.UNAVAILABLE, "the engine is not ready", *details)


def cancelled(*details: Message) -> status_pb2.Status:
    """The status that gRPC sends for a server that stops; with details it would be the server's own status."""
    return status_of(grpc.StatusCode.CANCELLED, "CANCELLED", *details)


@dataclass
class Hang:
    """A step that waits until the call is cancelled."""


Step: TypeAlias = events.Event | status_pb2.Status | Hang | lens_service_pb2.SearchResponse


@dataclass
class FakeLens(lens_service_pb2_grpc.LensServiceServicer):
    """Plays `script(call number)`; notes the requests and how the calls ended."""

    script: Callable[[int], Sequence[Step]] = lambda _: ANSWER
    requests: list[lens_service_pb2.SearchRequest] = field(default_factory=list)
    embedded: list[lens_service_pb2.SearchEmbeddingsRequest] = field(default_factory=list)
    info: lens_service_pb2.GetServerInfoResponse | None = None
    """Its description of itself; None for a server that is too old to have one."""
    remaining_s: list[float | None] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def Search(  # noqa: N802
        self,
        request: lens_service_pb2.SearchRequest,
        context: grpc.aio.ServicerContext[lens_service_pb2.SearchRequest, lens_service_pb2.SearchResponse],
    ) -> AsyncIterator[lens_service_pb2.SearchResponse]:
        self.requests.append(request)
        self.remaining_s.append(context.time_remaining())
        self.peers.append(context.peer())
        async for response in self._played(len(self.requests), context):
            yield response

    async def SearchEmbeddings(  # noqa: N802
        self,
        request: lens_service_pb2.SearchEmbeddingsRequest,
        context: grpc.aio.ServicerContext[lens_service_pb2.SearchEmbeddingsRequest, lens_service_pb2.SearchResponse],
    ) -> AsyncIterator[lens_service_pb2.SearchResponse]:
        self.embedded.append(request)
        async for response in self._played(len(self.embedded), context):
            yield response

    async def GetServerInfo(  # noqa: N802
        self,
        request: lens_service_pb2.GetServerInfoRequest,
        context: grpc.aio.ServicerContext[
            lens_service_pb2.GetServerInfoRequest, lens_service_pb2.GetServerInfoResponse
        ],
    ) -> lens_service_pb2.GetServerInfoResponse:
        if self.info is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        return self.info

    async def _played(
        self, call: int, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[lens_service_pb2.SearchResponse]:
        for step in self.script(call):
            if isinstance(step, status_pb2.Status):
                await context.abort_with_status(rpc_status.to_status(step))
            elif isinstance(step, Hang):
                await self._hang()
            elif isinstance(step, lens_service_pb2.SearchResponse):
                yield step
            else:
                yield convert.event_to_pb(step)

    async def _hang(self) -> None:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@asynccontextmanager
async def serving(fake: FakeLens, **options: int) -> AsyncIterator[str]:
    """Serves the fake on a free port; yields HOST:PORT."""
    server = grpc.aio.server(options=[(f"grpc.{name}", value) for name, value in options.items()])
    lens_service_pb2_grpc.add_LensServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


UNKNOWN_LEVEL = lens_service_pb2.SearchResponse(
    results=lens_service_pb2.ObjectResults(object_id="o1", products=[product_pb2.RankedProduct(level=99)])  # type: ignore[arg-type]
)
