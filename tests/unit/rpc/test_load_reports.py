"""The parts of load reports: the messages of the public definition, the interval, the load between two readings, the
CPU time of a control group or the machine."""

import math
import os
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.slots import Admission
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.load_reports import messages
from sightline_server.rpc.load_reports.cpu import CpuTime, of_machine, open_cpu_time
from sightline_server.rpc.load_reports.messages import OrcaLoadReport, OrcaLoadReportRequest
from sightline_server.rpc.load_reports.occupancy import Occupancy
from sightline_server.rpc.load_reports.reading import LoadReader, Reading
from sightline_server.rpc.load_reports.service import LEAST_S, MOST_S, USUAL_S, interval_s, message
from sightline_server.telemetry.metrics import Metrics

# The numbers of the public definition, written down here and not taken from the code under test.
REPORT = {
    "cpu_utilization": 1,
    "mem_utilization": 2,
    "rps": 3,
    "request_cost": 4,
    "utilization": 5,
    "rps_fractional": 6,
    "eps": 7,
    "named_metrics": 8,
    "application_utilization": 9,
}


def test_the_messages_are_those_of_the_definition() -> None:
    assert {field.name: field.number for field in OrcaLoadReport.DESCRIPTOR.fields} == REPORT
    request = OrcaLoadReportRequest.DESCRIPTOR
    assert {field.name: field.number for field in request.fields} == {"report_interval": 1, "request_cost_names": 2}
    [method] = messages.OPEN_RCA.methods
    assert (method.name, method.server_streaming, method.client_streaming) == ("StreamCoreMetrics", True, False)


def test_a_report_has_the_bytes_of_the_definition() -> None:
    sent = OrcaLoadReport(cpu_utilization=0.5, rps=7, named_metrics={"a": 1.0}).SerializeToString()
    half, one = b"\x00\x00\x00\x00\x00\x00\xe0\x3f", b"\x00\x00\x00\x00\x00\x00\xf0\x3f"
    assert sent == b"\x09" + half + b"\x18\x07" + b"\x42\x0c\x0a\x01a\x11" + one


def test_generated_code_of_the_same_files_may_be_in_the_process() -> None:
    default = descriptor_pb2.FileDescriptorProto.DESCRIPTOR.file.pool
    with pytest.raises(KeyError):
        default.FindFileByName(messages.DATA_FILE)


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ({}, USUAL_S),
        ({"seconds": -5}, USUAL_S),
        ({"nanos": 1}, LEAST_S),
        ({"seconds": 1, "nanos": 500_000_000}, 1.5),
        ({"seconds": 315_576_000_000}, MOST_S),
        ({"seconds": 2**63 - 1, "nanos": 2**31 - 1}, MOST_S),
    ],
)
def test_intervals_have_bounds(interval: dict[str, int], seconds: float) -> None:
    assert interval_s(OrcaLoadReportRequest(report_interval=interval).SerializeToString()) == seconds


def test_no_interval_is_the_usual_one() -> None:
    assert interval_s(b"") == USUAL_S


def test_bytes_that_are_no_request_are_refused() -> None:
    with pytest.raises(SightlineError) as caught:
        interval_s(b"\xff")
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


def reader(metrics: Metrics, cores: float = 2.0) -> LoadReader:
    admission = Admission(
        limit=AdaptiveLimit(target_s=1.0, floor=2, ceiling=64), engine_ready=lambda: True, clock=lambda: 5.0
    )
    return LoadReader(admission, Occupancy(lambda: 5.0), metrics, lambda: 5.0, CpuTime(Path("/nowhere"), cores))


def test_a_reading_counts_searches_only() -> None:
    metrics = Metrics()
    for method, code, calls in [("Search", "OK", 3), ("Search", "INTERNAL", 2), ("UpsertProducts", "OK", 9)]:
        metrics.requests.labels(method, code).inc(calls)
    metrics.requests.labels("Search", "INVALID_ARGUMENT").inc(4)
    assert reader(metrics).read() == Reading(5.0, 0.0, 3.0, 2.0, 0, 8)


def test_the_load_is_of_the_time_between_two_readings() -> None:
    load = reader(Metrics()).between(Reading(10.0, 4.0, 100, 1, 20.0, 8), Reading(12.0, 7.0, 110, 2, 32.0, 8))
    assert load.cpu_utilization == 0.75
    assert load.application_utilization == 0.75
    assert (load.answered_per_s, load.faults_per_s) == (5.0, 0.5)
    sent = message(load)
    assert (sent.rps, sent.rps_fractional, sent.eps) == (5, 5.0, 0.5)


def test_a_source_that_goes_away_or_starts_again_gives_no_negative_load() -> None:
    load = reader(Metrics()).between(Reading(10.0, 4.0, 100, 1, 6.0, 8), Reading(10.0, 0.0, 0, 0, 0.0, 0))
    assert (load.cpu_utilization, load.answered_per_s, load.faults_per_s) == (0.0, 0.0, 0.0)
    assert math.isfinite(load.application_utilization)


def test_the_control_group_counts_where_there_is_one(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cgroup" / "system.slice" / "sightline.service"
    (proc / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("3:cpu:/other\n0::/system.slice/sightline.service\n")
    (group / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (group / "cpu.max").write_text("50000 100000\n")
    cpu = open_cpu_time(tmp_path / "cgroup", proc)
    assert cpu.used_s() == 2.5
    assert cpu.cores == 0.5
    (group / "cpu.max").write_text("max 100000\n")
    assert open_cpu_time(tmp_path / "cgroup", proc).cores == len(os.sched_getaffinity(0))
    (group / "cpu.stat").unlink()
    assert cpu.used_s() == 0.0


@pytest.mark.parametrize("text", ["", "3:cpu:/other\n", "0::/gone\n"])
def test_the_machine_counts_without_a_control_group(tmp_path: Path, text: str) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(text)
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 50 6 7 800 900 10\ncpu0 1\n")
    cpu = open_cpu_time(tmp_path / "groups", tmp_path)
    assert cpu.cores == os.cpu_count()
    assert cpu.used_s() == 163 / os.sysconf("SC_CLK_TCK")


def test_this_machine_has_a_source() -> None:
    cpu = open_cpu_time()
    assert cpu.used_s() > 0
    assert cpu.cores > 0


def test_guest_time_is_not_counted_twice() -> None:
    assert of_machine("cpu 100 0 0 0 0 0 0 0 100 0\n") == 100 / os.sysconf("SC_CLK_TCK")


def test_calls_inside_are_added_up_over_time() -> None:
    clock = [10.0]
    occupancy = Occupancy(lambda: clock[0])
    for at, inside in ((11.0, 2), (13.0, 1), (13.5, 0)):
        clock[0] = at
        occupancy.note(inside)
    assert occupancy.until(13.5) == occupancy.until(20.0) == 4.5
    clock[0] = 20.0
    occupancy.note(1)
    assert occupancy.until(22.0) == 6.5
