"""Load reports over a real channel: their figures, their bounds, and that they are not counted as searches."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sightline_server.admission.slots import ServerState
from sightline_server.rpc import probe_requests
from sightline_server.rpc.load_reports import service
from sightline_server.rpc.load_reports.messages import OrcaLoadReport, OrcaLoadReportRequest
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import Served, details_of, failed, serving, until

PATH = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"
ON: Mapping[str, Any] = {"load_reports": True}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports every tenth of a second for a request that asks for the least."""
    monkeypatch.setattr(service, "LEAST_S", 0.1)


def stream(served: Served, request: Any = None, **options: Any) -> Any:
    """A stream of reports as a client of the public definition opens it: one request, many answers."""
    method = served.channel.unary_stream(
        PATH,
        request_serializer=OrcaLoadReportRequest.SerializeToString,
        response_deserializer=OrcaLoadReport.FromString,
    )
    return method(request or OrcaLoadReportRequest(report_interval={"nanos": 1}), **options)


def opened(served: Served, sent: bytes) -> Any:
    """A stream after the bytes `sent`."""
    method: Any = served.channel.unary_stream(PATH)
    return method(sent, timeout=5)


async def test_a_report_says_how_full_the_server_is() -> None:
    async with serving(server=ON, limits={"max_concurrent_calls": 2}) as served:
        reports = stream(served)
        assert (await reports.read()).application_utilization == 0.0
        served.engine.models["detector"].gate.clear()
        call = served.search(asked())
        await call.read()
        await reports.read()
        assert (await reports.read()).application_utilization == pytest.approx(0.5)
        served.engine.models["detector"].gate.set()
        assert kinds(await events_of(call))[-1] == "done"


async def test_answered_searches_and_faults_are_counted_per_second() -> None:
    async with serving(server=ON) as served:
        reports = stream(served)
        assert (await reports.read()).rps_fractional == 0.0
        await events_of(served.search(asked()))
        served.engine.models["detector"].replies.append(ValueError("a fault of the model"))
        await failed(served.search(asked()))
        # Both may be in one report or in two; a later one covers only what came after them.
        rates: list[float] = []
        faults: list[float] = []
        while not (rates and faults):
            report = await reports.read()
            assert report.rps == round(report.rps_fractional)
            assert report.cpu_utilization >= 0.0
            rates += [report.rps_fractional] if report.rps_fractional else []
            faults += [report.eps] if report.eps else []
        later = await reports.read()
    assert 0 < rates[0] <= 1.05 / service.LEAST_S
    assert 0 < faults[0] <= 1.05 / service.LEAST_S
    assert (later.rps_fractional, later.eps) == (0.0, 0.0)


async def test_refused_searches_and_bad_photos_are_no_faults_of_the_server() -> None:
    async with serving(server=ON, limits={"max_concurrent_calls": 1, "max_open_calls": 1}) as served:
        reports = stream(served, OrcaLoadReportRequest(report_interval={"nanos": 500_000_000}))
        await until(lambda: served.value("load_reports") == 1)
        served.engine.models["detector"].gate.clear()
        call = served.search(asked())
        await call.read()
        assert (await failed(served.search(asked()))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        report = await reports.read()
        assert (report.rps_fractional, report.eps) == (0.0, 0.0)
        assert report.application_utilization > 0
        served.engine.models["detector"].gate.set()
        await events_of(call)


async def test_streams_are_not_counted_as_searches_and_take_no_slot() -> None:
    async with serving(server=ON, limits={"max_concurrent_calls": 1, "max_open_calls": 1}) as served:
        streams = [stream(served) for _ in range(5)]
        for reports in streams:
            await reports.read()
        assert served.value("load_reports") == 5
        assert served.value("open_calls") == served.value("in_flight") == 0
        assert kinds(await events_of(served.search(asked(), timeout=5)))[-1] == "done"
        for reports in streams:
            reports.cancel()
        await until(lambda: served.value("load_reports") == 0)


async def test_searches_that_fill_the_server_leave_reports_theirs() -> None:
    async with serving(server=ON, limits={"max_concurrent_calls": 1, "max_open_calls": 1}) as served:
        served.engine.models["detector"].gate.clear()
        call = served.search(asked())
        await call.read()
        assert (await stream(served).read()).application_utilization == pytest.approx(1.0)
        served.engine.models["detector"].gate.set()
        await events_of(call)


async def test_streams_of_one_connection_are_bounded() -> None:
    async with serving(server=ON) as served:
        streams = [stream(served) for _ in range(service.MOST_OF_ONE)]
        await until(lambda: served.value("load_reports") == service.MOST_OF_ONE)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(served).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(caught.value)["ErrorInfo"].metadata["limit"] == "connection_load_reports"
        assert caught.value.details() == "more than 16 load reports are open on this connection"
        assert served.value("refused_calls_total", limit="connection_load_reports") == 1
        # Health and searches on the same connection go on.
        answer = await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert kinds(await events_of(served.search(asked(), timeout=5)))[-1] == "done"
        for reports in streams:
            reports.cancel()
        await until(lambda: served.value("load_reports") == 0)


async def test_load_reports_are_off_by_default() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream(served, timeout=5).read()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_server_that_starts_reports_too() -> None:
    async with serving(opened=False, server=ON) as served:
        assert (await stream(served).read()).application_utilization == 0.0


async def test_a_server_that_drains_reports_until_it_ends() -> None:
    async with serving(server=ON) as served:
        served.engine.models["detector"].gate.clear()
        call, reports = served.search(asked()), stream(served)
        await call.read()
        closing = asyncio.create_task(served.door.close(30.0))
        await until(lambda: served.door.admission.state is ServerState.STOPPING)
        await reports.read()
        assert (await reports.read()).application_utilization > 0
        served.engine.models["detector"].gate.set()
        await events_of(call)
        await closing


@pytest.mark.parametrize("sent", [b"\xff" * 20, b"\x0a\x01\xff"])
async def test_bytes_that_are_no_request_are_explained(sent: bytes) -> None:
    async with serving(server=ON) as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened(served, sent).read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(caught.value)["ErrorInfo"].reason == "INVALID_REQUEST"
        assert served.value("load_reports") == 0


async def test_a_request_that_does_not_come_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_requests, "READ_S", 0.1)
    async with serving(server=ON) as served:
        call: Any = served.channel.stream_stream(PATH)(timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert details_of(caught.value)["ErrorInfo"].metadata["limit"] == "slow_probe"
        await until(lambda: served.value("load_reports") == 0)
