"""Searches through a real channel, traced to a real OTLP collector: whose spans they are and what they say."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from sightline.v1 import lens_service_pb2
from sightline_server.app.clock import clock
from sightline_server.domain.models import BatchCost
from sightline_server.telemetry.caller_traces import CallerTraces
from sightline_server.telemetry.tracing import ATTRIBUTES
from tests.support.lens import PLAIN_STAGES, FakeEngine, failed, serving
from tests.support.pictures import encode, gradient
from tests.support.tokens import Entrance, bearer

pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra `otel` is not installed")

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sightline_server.telemetry.otel import OpenTelemetryTracing, collector_tracing

PHOTO = encode(gradient(96, 96))
CALL = "sightline.v1.LensService/Search"


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    spans: list[Span] = field(default_factory=list)

    async def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace_id: int) -> list[Span]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id.to_bytes(16, "big")]


@asynccontextmanager
async def collected(callers_per_minute: int = 600) -> AsyncIterator[tuple[Collector, OpenTelemetryTracing]]:
    """A collector on a free port, and tracing to it that samples only calls whose callers ask for it."""
    collector, server = Collector(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, collector_tracing(f"http://127.0.0.1:{port}", 0.0, CallerTraces(callers_per_minute, clock))
    finally:
        await server.stop(None)


def traced(trace_id: int) -> tuple[tuple[str, str], ...]:
    """Metadata of a caller who has a trace."""
    return (("traceparent", f"00-{trace_id:032x}-{7:016x}-01"),)


async def test_calls_at_the_same_time_have_each_its_own_spans() -> None:
    async with collected() as (collector, tracing), serving(tracing=tracing) as served:

        async def search(trace_id: int) -> None:
            request = lens_service_pb2.SearchRequest(photo=PHOTO)
            async for _ in served.search(request, metadata=traced(trace_id)):
                pass

        await asyncio.gather(*(search(trace_id) for trace_id in range(1, 9)))
        await asyncio.to_thread(tracing.close)
        for trace_id in range(1, 9):
            spans = collector.of(trace_id)
            (call,) = [span for span in spans if span.name == CALL]
            assert call.parent_span_id == (7).to_bytes(8, "big")
            stages = [span for span in spans if span is not call]
            assert sorted(span.name for span in stages) == sorted(PLAIN_STAGES)
            assert {span.parent_span_id for span in stages} == {call.span_id}
            assert all(call.start_time_unix_nano <= span.start_time_unix_nano for span in stages)
            assert all(span.end_time_unix_nano <= call.end_time_unix_nano for span in stages)


async def test_the_collector_is_told_nothing_of_the_photo() -> None:
    async with collected() as (collector, tracing), serving(tracing=tracing) as served:
        refused = lens_service_pb2.SearchRequest(photo=b"canary " * 9)
        assert (await failed(served.search(refused, metadata=traced(1)))).code is grpc.StatusCode.INVALID_ARGUMENT
        async for _ in served.search(lens_service_pb2.SearchRequest(photo=PHOTO), metadata=traced(2)):
            pass
        await asyncio.to_thread(tracing.close)
        assert collector.of(1)
        assert {each.key for span in collector.spans for each in span.attributes} == ATTRIBUTES
        assert not any(span.events or span.links or span.status.message for span in collector.spans)
        told = "".join(str(span) for span in collector.spans)
        assert "canary" not in told
        assert "chair" not in told
        codes = {
            each.value.string_value
            for span in collector.spans
            for each in span.attributes
            if each.key == "rpc.status_code"
        }
        assert codes == {"OK", "INVALID_ARGUMENT"}


async def test_a_call_without_a_trace_is_left_to_the_ratio() -> None:
    async with collected() as (collector, tracing), serving(tracing=tracing) as served:
        async for _ in served.search(lens_service_pb2.SearchRequest(photo=PHOTO)):
            pass
        await asyncio.to_thread(tracing.close)
        assert collector.spans == []


async def test_callers_begin_so_many_traces_and_strangers_none(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path, '[principals.app]\ncatalogs = ["*"]\nmethods = ["search"]\n')
    async with collected(2) as (collector, tracing), serving(tracing=tracing, rights=entrance.settings) as served:
        for trace_id in range(1, 6):
            metadata = (*traced(trace_id), *bearer(entrance.app_key))
            call = served.search(lens_service_pb2.SearchRequest(photo=PHOTO), metadata=metadata)
            async for _ in call:
                pass
            assert await call.code() is grpc.StatusCode.OK, "only the trace is not followed"
        stranger = await failed(served.search(lens_service_pb2.SearchRequest(photo=PHOTO), metadata=traced(9)))
        assert stranger.code is grpc.StatusCode.UNAUTHENTICATED
        await asyncio.to_thread(tracing.close)
        assert [bool(collector.of(trace_id)) for trace_id in (1, 2, 3, 4, 5, 9)] == [True, True, *[False] * 4]


async def test_a_collector_that_is_away_costs_no_call_anything() -> None:
    tracing = collector_tracing("http://127.0.0.1:1", 1.0, CallerTraces(600, clock))
    async with serving(tracing=tracing) as served:
        call = served.search(lens_service_pb2.SearchRequest(photo=PHOTO))
        async for _ in call:
            pass
        assert await call.code() is grpc.StatusCode.OK
    await asyncio.to_thread(tracing.close)


async def test_portions_that_are_embedded_side_by_side_have_spans_of_their_own_call() -> None:
    engine = FakeEngine()
    engine.embedder = replace(engine.embedder, batch_cost=BatchCost.LINEAR)
    async with (
        collected() as (collector, tracing),
        serving(tracing=tracing, engine=engine, batching={"crops": {"slots": 2}}) as served,
    ):
        async for _ in served.search(lens_service_pb2.SearchRequest(photo=PHOTO), metadata=traced(1)):
            pass
        await asyncio.to_thread(tracing.close)
        spans = collector.of(1)
        (call,) = [span for span in spans if span.name == CALL]
        twice = {"crop", "embed", "search", "rank"}
        assert Counter(span.name for span in spans if span is not call) == {
            name: 2 if name in twice else 1 for name in PLAIN_STAGES
        }
        assert {span.parent_span_id for span in spans if span is not call} == {call.span_id}
