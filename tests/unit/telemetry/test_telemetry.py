"""Metrics are listed in `docs/operate/metrics.md` and only there; logs contain their fields and nothing more."""

import asyncio
import json
import logging
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from sightline_server.domain.stages import CROP, DECODE, DETECT, EMBED, RANK, STAGE_NAMES, Stage
from sightline_server.telemetry.batches import BatcherMetrics
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.logging import JsonFormatter, PlainFormatter
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Step, Stopwatch
from tests.support.lens import FakeSnapshot

TABLE = Path(__file__).parents[3] / "docs" / "operate" / "metrics.md"
OURS = "sightline_"
ROW = re.compile(r"^\| `(sightline_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)


def shown(metrics: Metrics) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name as /metrics shows it -> type and labels, of every metric of ours."""
    found = {}
    for collector in metrics.registry._collector_to_names:
        if not isinstance(collector, MetricWrapperBase) or not collector._name.startswith(OURS):
            continue
        kind = str(collector._type)
        suffix = {"counter": "_total"}.get(kind, "")
        labels = tuple(collector._labelnames)
        found[collector._name + suffix] = (kind, labels)
    return found


def test_the_table_is_what_the_server_shows() -> None:
    rows = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in ROW.findall(TABLE.read_text())
    }
    assert rows == shown(Metrics())


def test_every_metric_is_ours_or_the_librarys() -> None:
    families = {
        line.split()[2]
        for line in generate_latest(Metrics().registry).decode().splitlines()
        if line.startswith("# TYPE")
    }
    assert {name for name in families if not name.startswith((OURS, "process_", "python_"))} == set()
    assert not [name for name in families if "summary" in name]


def test_two_instances_do_not_share_a_registry() -> None:
    first, second = Metrics(), Metrics()
    first.requests.labels("Search", "OK").inc()
    assert b"sightline_requests_total{" not in generate_latest(second.registry)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_batcher_reports_under_its_name() -> None:
    metrics = Metrics()
    heard = BatcherMetrics(metrics.batches, "crops")
    heard.batch_started(5, 3)
    heard.entry_waited(0.02)
    heard.batch_ended(0.3)
    for reason in ("cancelled", "expired", "full"):
        heard.dropped(reason, 2)
    heard.wasted(4)
    assert value(metrics, "sightline_batch_size_sum", batcher="crops") == 5
    assert value(metrics, "sightline_queue_items", batcher="crops") == 3
    assert value(metrics, "sightline_queue_seconds_count", batcher="crops") == 1
    assert value(metrics, "sightline_batch_seconds_sum", batcher="crops") == 0.3
    assert value(metrics, "sightline_dropped_items_total", batcher="crops", reason="expired") == 2
    assert value(metrics, "sightline_wasted_items_total", batcher="crops") == 4


def test_an_engine_shows_its_present_provider_and_transport_only() -> None:
    metrics = Metrics()
    heard = EngineMetrics(metrics.engine)
    heard.transport("detector", "shm")
    heard.transport("detector", "inline")
    heard.provider("detector", "OpenVINOExecutionProvider", "bf16")
    heard.provider("detector", "CPUExecutionProvider", "float32")
    heard.provider("embedder", "remote", "")
    heard.restarted("reload")
    heard.ready(True)
    assert value(metrics, "sightline_triton_transport", model="detector", transport="shm") == 0
    assert value(metrics, "sightline_triton_transport", model="detector", transport="inline") == 1
    assert value(metrics, "sightline_engine_provider", model="detector", provider="CPUExecutionProvider") == 1
    assert value(metrics, "sightline_engine_provider", model="detector", provider="OpenVINOExecutionProvider") == 0
    assert value(metrics, "sightline_engine_precision", model="detector", precision="float32") == 1
    assert value(metrics, "sightline_engine_precision", model="detector", precision="bf16") == 0
    assert value(metrics, "sightline_engine_precision", model="embedder", precision="bf16") is None
    assert value(metrics, "sightline_engine_restarts_total", kind="reload") == 1
    assert value(metrics, "sightline_engine_ready") == 1
    heard.ready(False)
    assert value(metrics, "sightline_engine_ready") == 0


def test_earlier_revision_of_a_catalog_is_gone_and_other_catalogs_stay() -> None:
    metrics = Metrics()
    catalogs = CatalogMetrics(metrics)
    first, second, other = FakeSnapshot("shop", "1-aa"), FakeSnapshot("shop", "2-bb"), FakeSnapshot("other", "1-aa")
    catalogs.published(first)
    catalogs.published(other)
    catalogs.published(second)
    catalogs.replaced(first)
    assert value(metrics, "sightline_catalog_info", catalog="shop", revision="1-aa") is None
    assert value(metrics, "sightline_catalog_info", catalog="shop", revision="2-bb") == 1
    assert value(metrics, "sightline_catalog_info", catalog="other", revision="1-aa") == 1


def fail_after(now: list[float], seconds: float) -> None:
    now[0] += seconds
    raise RuntimeError


def test_the_stopwatch_adds_up_stages_even_when_they_fail() -> None:
    now = [10.0]
    watch = Stopwatch(lambda: now[0])
    with watch.step(DECODE):
        now[0] += 0.25
    for _ in range(2):
        with pytest.raises(RuntimeError), watch.step(RANK):
            fail_after(now, 0.5)
    now[0] += 4
    timings = watch.timings()
    assert timings.stages == {**dict.fromkeys(STAGE_NAMES, 0.0), "decode": 0.25, "rank": 1.0}
    assert timings.total == 5.25
    metrics = Metrics()
    watch.report(metrics)
    assert {stage: value(metrics, "sightline_stage_seconds_count", stage=stage) for stage in STAGE_NAMES} == {
        **dict.fromkeys(STAGE_NAMES),
        "decode": 1,
        "rank": 1,
    }


def test_time_that_steps_of_a_stage_share_counts_once() -> None:
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    with watch.step(EMBED) as first, watch.step(EMBED) as second:
        now[0] += 1  # both wait
        first.runs()
        now[0] += 2  # the second waits alone
        second.runs()
        now[0] += 4
    now[0] += 8
    with watch.step(EMBED):
        now[0] += 16
    timings = watch.timings()
    assert (timings.stages["embed"], timings.queue, timings.total) == (23.0, 19.0, 31.0)
    metrics = Metrics()
    watch.report(metrics)
    assert value(metrics, "sightline_stage_seconds_count", stage="embed") == 1
    assert value(metrics, "sightline_stage_seconds_sum", stage="embed") == 23.0


def test_waiting_for_a_thread_is_not_queue_time() -> None:
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    with watch.step(CROP) as step:
        now[0] += 1
        step.runs()
        now[0] += 1
    assert (watch.timings().stages["crop"], watch.timings().queue) == (2.0, 0.0)


def be_cancelled(step: Step, running: bool) -> None:
    if running:
        step.runs()
    raise asyncio.CancelledError


def leave_while_sending(watch: Stopwatch) -> None:
    with pytest.raises(GeneratorExit), watch.sending():
        raise GeneratorExit


def test_the_stopwatch_tells_where_a_call_was_left() -> None:
    def left(stage: Stage, *, running: bool) -> tuple[str, str] | None:
        watch = Stopwatch(lambda: 0.0)
        with watch.step(DECODE) as decoding:
            decoding.runs()
        with pytest.raises(asyncio.CancelledError), watch.step(stage) as step:
            be_cancelled(step, running)
        return watch.left

    assert left(DETECT, running=False) == ("detect", "before")
    assert left(EMBED, running=True) == ("embed", "in")
    finished = Stopwatch(lambda: 0.0)
    leave_while_sending(finished)
    assert finished.left is None
    with finished.step(DECODE) as step:
        step.runs()
    leave_while_sending(finished)
    assert finished.left == ("decode", "after")
    metrics = Metrics()
    finished.count_left(metrics)
    assert value(metrics, "sightline_left_calls_total", stage="decode", moment="after") == 1


def test_steps_that_end_because_their_call_was_left_do_not_change_its_moment() -> None:
    watch = Stopwatch(lambda: 0.0)
    with watch.step(RANK):
        pass
    leave_while_sending(watch)
    with pytest.raises(asyncio.CancelledError), watch.step(EMBED) as step:
        be_cancelled(step, running=True)
    assert watch.left == ("rank", "after")


def test_a_call_is_left_only_after_a_stage_that_sends() -> None:
    watch = Stopwatch(lambda: 0.0)
    for stage in (DECODE, DETECT, CROP, EMBED):
        with watch.step(stage):
            pass
    leave_while_sending(watch)
    assert watch.left == ("detect", "after")


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("sightline_server.x", logging.INFO, __file__, 1, "said %s", ("this",), None)
    made.__dict__.update(extra)
    return made


def test_log_lines_hold_the_known_fields_only() -> None:
    line = json.loads(JsonFormatter().format(record(request_id="r", code="OK", seconds=0.5, photo="SECRET")))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "sightline_server.x",
        "message": "said this",
        "request_id": "r",
        "code": "OK",
        "seconds": 0.5,
    }
    plain = PlainFormatter().format(record(request_id="r", photo="SECRET"))
    assert plain.endswith("said this request_id=r")


def test_a_json_line_stays_one_line_with_an_exception() -> None:
    made = record()
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    formatted = JsonFormatter().format(made)
    assert "\n" not in formatted
    assert "second" in json.loads(formatted)["exception"]
