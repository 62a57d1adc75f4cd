"""Spans of a call and its stages: who is whose parent, what they may say, and that nothing is there while it is off."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from sightline_server.app.tracing import make_tracing
from sightline_server.domain.stages import CROP, DECODE, STAGE_NAMES, STAGES
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import TracingSettings
from sightline_server.telemetry.caller_traces import CallerTraces
from sightline_server.telemetry.stopwatch import Stopwatch
from sightline_server.telemetry.tracing import ATTRIBUTES, OFF
from tests.support.clock import HandClock

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from sightline_server.telemetry.otel import OpenTelemetryTracing, channel_options, collector_tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRET = "pixels 17 23 42"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def callers(per_minute: int = 600, clock: Callable[[], float] = time.monotonic) -> CallerTraces:
    return CallerTraces(per_minute, clock)


def tracing_to(
    exporter: InMemorySpanExporter, ratio: float = 1.0, traces: CallerTraces | None = None
) -> OpenTelemetryTracing:
    return OpenTelemetryTracing(SimpleSpanProcessor(exporter), ratio, traces or callers())


def run_call(
    tracing: OpenTelemetryTracing, traceparent: str | None = None, code: str = "OK", principal: str | None = "app"
) -> None:
    """A call of all stages, or of a caller who is not identified."""
    metadata: list[tuple[str, str | bytes]] = [
        ("user-agent", "x"),
        ("photo-bin", b"\xff\xd8"),
        *([("traceparent", traceparent)] if traceparent else []),
    ]
    watch = Stopwatch(lambda: 0.0, tracing)
    with tracing.call("sightline.v1.LensService/Search", "req-1", lambda: metadata) as call:
        if principal is not None:
            call.identified(principal)
        for stage in STAGES if principal is not None else ():
            with watch.step(stage):
                pass
        call.ended_with(code)


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize(
    ("endpoint", "through_proxies"),
    [
        ("http://127.0.0.1:4317", 0),
        ("http://localhost:4317", 0),
        ("https://[::1]:4317", 0),
        ("https://collector.example", 1),
        ("http://10.0.0.1:4317", 1),
    ],
)
def test_proxies_are_for_collectors_elsewhere(endpoint: str, through_proxies: int) -> None:
    assert channel_options(endpoint) == (("grpc.enable_http_proxy", through_proxies),)
    collector_tracing(endpoint, 0.0, callers()).close()


def test_a_call_has_a_span_and_each_stage_one_below_it(exporter: InMemorySpanExporter) -> None:
    run_call(tracing_to(exporter))
    spans = by_name(exporter)
    call = spans.pop("sightline.v1.LensService/Search")
    assert set(spans) == set(STAGE_NAMES)
    assert call.parent is None
    assert {span.parent.span_id for span in spans.values() if span.parent} == {call.context.span_id}


def test_the_callers_trace_goes_on(exporter: InMemorySpanExporter) -> None:
    run_call(tracing_to(exporter, ratio=0.0), f"00-{TRACE_ID}-{CALLER}-01")
    call = by_name(exporter)["sightline.v1.LensService/Search"]
    assert f"{call.context.trace_id:032x}" == TRACE_ID
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == CALLER


def test_each_caller_begins_so_many_traces_a_minute_and_no_more(exporter: InMemorySpanExporter) -> None:
    clock = HandClock()
    tracing = tracing_to(exporter, 0.0, callers(3, clock))

    def followed(calls: int, principal: str = "app", flags: str = "01") -> int:
        exporter.clear()
        for _ in range(calls):
            run_call(tracing, f"00-{TRACE_ID}-{CALLER}-{flags}", principal=principal)
        spans = [span for span in exporter.get_finished_spans() if span.name.endswith("Search")]
        assert {f"{span.context.trace_id:032x}" for span in spans} <= {TRACE_ID}
        return len(spans)

    assert followed(9, flags="00") == 0, "what is not recorded counts for nothing"
    assert (followed(5), followed(2), followed(5, "other")) == (3, 0, 3)
    clock.now += 20.0
    assert followed(5) == 1
    clock.now += 3600.0
    assert followed(5) == 3


def test_a_call_above_the_bound_is_left_to_the_ratio_in_a_new_trace(exporter: InMemorySpanExporter) -> None:
    tracing = tracing_to(exporter, 1.0, callers(0))
    run_call(tracing, f"00-{TRACE_ID}-{CALLER}-01")
    call = by_name(exporter)["sightline.v1.LensService/Search"]
    assert call.parent is None
    assert f"{call.context.trace_id:032x}" != TRACE_ID
    assert {span.context.trace_id for span in exporter.get_finished_spans()} == {call.context.trace_id}


def test_the_trace_of_a_caller_who_is_not_identified_is_not_followed(exporter: InMemorySpanExporter) -> None:
    before = time.time_ns()
    run_call(tracing_to(exporter), f"00-{TRACE_ID}-{CALLER}-01", code="UNAUTHENTICATED", principal=None)
    [span] = exporter.get_finished_spans()
    assert span.parent is None and f"{span.context.trace_id:032x}" != TRACE_ID
    assert (span.attributes or {})["rpc.status_code"] == "UNAUTHENTICATED"
    assert span.start_time is not None and before <= span.start_time <= time.time_ns()
    run_call(tracing_to(exporter, 0.0), f"00-{TRACE_ID}-{CALLER}-01", principal=None)
    assert len(exporter.get_finished_spans()) == 1


def test_a_million_callers_take_no_more_memory_than_one() -> None:
    clock = HandClock()
    traces = callers(1, clock)
    size = len(traces._buckets._memory.view)
    for number in range(5000):
        clock.now += 1e-6
        traces.take(f"caller-{number}")
    assert len(traces._buckets._memory.view) == size < 100_000


@pytest.mark.parametrize("traceparent", [None, f"00-{TRACE_ID}-{CALLER}-00", "nonsense"])
def test_what_is_not_sampled_has_no_spans(exporter: InMemorySpanExporter, traceparent: str | None) -> None:
    run_call(tracing_to(exporter, ratio=0.0), traceparent)
    assert not exporter.get_finished_spans()


def test_spans_say_only_what_the_list_allows(exporter: InMemorySpanExporter) -> None:
    run_call(tracing_to(exporter), code="INTERNAL")
    spans = exporter.get_finished_spans()
    assert {key for span in spans for key in span.attributes or ()} == ATTRIBUTES
    assert all(not span.events and not span.links for span in spans)
    call = by_name(exporter)["sightline.v1.LensService/Search"]
    assert dict(call.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": "sightline.v1.LensService/Search",
        "rpc.status_code": "INTERNAL",
        "error.type": "INTERNAL",
        "sightline.request_id": "req-1",
    }


def test_a_failure_is_marked_and_its_text_is_not_told(exporter: InMemorySpanExporter) -> None:
    tracing = tracing_to(exporter)

    def failing() -> None:
        with tracing.call("sightline.v1.LensService/Search", "req-1", list) as call:
            call.identified("app")
            with Stopwatch(lambda: 0.0, tracing).step(DECODE):
                call.ended_with("INTERNAL")
                raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        failing()
    spans = exporter.get_finished_spans()
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR]
    assert {span.name: (span.attributes or {})["error.type"] for span in spans} == {
        "decode": "ValueError",
        "sightline.v1.LensService/Search": "INTERNAL",
    }
    assert not any(SECRET in span.to_json() for span in spans)


def test_the_callers_own_fault_is_no_error_of_the_server(exporter: InMemorySpanExporter) -> None:
    run_call(tracing_to(exporter), code="INVALID_ARGUMENT")
    call = by_name(exporter)["sightline.v1.LensService/Search"]
    assert call.status.status_code is StatusCode.UNSET
    assert "error.type" not in (call.attributes or {})
    assert (call.attributes or {})["rpc.status_code"] == "INVALID_ARGUMENT"


def test_a_stage_outside_of_a_call_has_no_span(exporter: InMemorySpanExporter) -> None:
    with Stopwatch(lambda: 0.0, tracing_to(exporter)).step(DECODE):
        pass
    assert not exporter.get_finished_spans()


def test_the_watch_counts_the_same_with_and_without_tracing(exporter: InMemorySpanExporter) -> None:
    for tracing in (OFF, tracing_to(exporter)):
        ticks = iter(range(10))
        watch = Stopwatch(lambda ticks=ticks: float(next(ticks)), tracing)  # type: ignore[misc]
        with watch.step(CROP):
            pass
        assert watch.timings().stages["crop"] == 1.0


def test_without_a_collector_nothing_is_traced_and_nothing_is_loaded() -> None:
    assert make_tracing(TracingSettings()) is OFF
    program = (
        "import sys; from sightline_server.app.serving import serving; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_collector_without_opentelemetry_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.telemetry.otel", None)
    monkeypatch.delattr("sightline_server.telemetry.otel", raising=False)
    with pytest.raises(SightlineError, match=r"sightline\[otel\]") as caught:
        make_tracing(TracingSettings(endpoint="http://127.0.0.1:4317"))
    assert caught.value.kind is ErrorKind.CONFIGURATION
