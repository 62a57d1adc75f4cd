"""`OpenRcaService.StreamCoreMetrics`: the load of this process at an interval, out of band (gRFC A51).

Rule: a stream is not a search. It takes no slot of admission and is not among the open calls; like a health watch it
needs no credential, and is bounded in number.
"""

import asyncio
from collections.abc import AsyncIterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from sightline_server.admission.open_calls import OpenCalls
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.load_reports.messages import OPEN_RCA, OrcaLoadReport, OrcaLoadReportRequest
from sightline_server.rpc.load_reports.reading import Load, LoadReader
from sightline_server.rpc.probe_requests import ProbeRequests
from sightline_server.telemetry.metrics import Metrics

MOST, MOST_OF_ONE = 1024, 16
"""Streams at once, in all and of one connection: those of health watches."""
LEAST_S, USUAL_S, MOST_S = 1.0, 10.0, 3600.0
"""Seconds between two reports: the least, those of a request that names none, the most."""

Context = grpc.aio.ServicerContext[bytes, Any]


class LoadReports:
    """Sends the load to each caller at its interval."""

    name = str(OPEN_RCA.full_name)

    def __init__(self, reader: LoadReader, requests: ProbeRequests, metrics: Metrics) -> None:
        self._reader = reader
        self._requests = requests
        self._streams = OpenCalls(
            most=MOST, most_of_one=MOST_OF_ONE, name="load_reports", on_count=metrics.load_reports.set
        )

    def handlers(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        """The method. It takes bytes, as `Edge` does, and for the same reason."""
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self.stream, response_serializer=OrcaLoadReport.SerializeToString
        )
        return {"StreamCoreMetrics": handler}

    async def stream(self, messages: AsyncIterable[bytes], context: Context) -> None:
        """Reports until the caller cancels. The first report comes after the interval, and covers it."""
        async with self._requests.answered(context):
            with self._streams.enter(context.peer()):
                seconds = interval_s(await self._requests.receive(context, "load report"))
                before = self._reader.read()
                while True:
                    await asyncio.sleep(seconds)
                    now = self._reader.read()
                    await context.write(message(self._reader.between(before, now)))
                    before = now


def interval_s(raw: bytes) -> float:
    """The seconds between two reports that a request asks for, within the bounds. Raises `SightlineError`."""
    try:
        request = OrcaLoadReportRequest.FromString(raw)
    except DecodeError as error:
        raise SightlineError(ErrorKind.INVALID_REQUEST, "the request is not an OrcaLoadReportRequest") from error
    asked = request.report_interval
    seconds = asked.seconds + asked.nanos / 1e9
    return min(max(seconds, LEAST_S), MOST_S) if seconds > 0 else USUAL_S


def message(load: Load) -> Any:
    """The report, with the whole number of searches a second for clients that know only that."""
    return OrcaLoadReport(
        cpu_utilization=load.cpu_utilization,
        application_utilization=load.application_utilization,
        rps=round(load.answered_per_s),
        rps_fractional=load.answered_per_s,
        eps=load.faults_per_s,
    )
