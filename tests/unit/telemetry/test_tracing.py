"""Spans of a call and its stages: who is whose parent, what they may say, and that nothing is there while it is off."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from sightline_server.app.tracing import make_tracing
from sightline_server.domain.stages import CROP, DECODE, STAGE_NAMES, STAGES
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import TracingSettings
from sightline_server.telemetry.stopwatch import Stopwatch
from sightline_server.telemetry.tracing import ATTRIBUTES, OFF

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


def tracing_to(exporter: InMemorySpanExporter, ratio: float = 1.0) -> OpenTelemetryTracing:
    return OpenTelemetryTracing(SimpleSpanProcessor(exporter), ratio)


def run_call(tracing: OpenTelemetryTracing, traceparent: str | None = None, code: str = "OK") -> None:
    """A call of all stages."""
    metadata: list[tuple[str, str | bytes]] = [
        ("user-agent", "x"),
        ("photo-bin", b"\xff\xd8"),
        *([("traceparent", traceparent)] if traceparent else []),
    ]
    watch = Stopwatch(lambda: 0.0, tracing)
    with tracing.call("sightline.v1.LensService/Search", "req-1", lambda: metadata) as call:
        for stage in STAGES:
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
    collector_tracing(endpoint, 0.0).close()


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
        with (
            tracing.call("sightline.v1.LensService/Search", "req-1", list) as call,
            Stopwatch(lambda: 0.0, tracing).step(DECODE),
        ):
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
