"""One `/metrics` of several processes: sums go on over a worker's end, gauges count living workers only."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Gauge, values

from sightline_server.process_identity import own_identity
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.shared import PREFIX, forget_gauges, joined, metrics_folder, of_all
from sightline_server.telemetry.usage import Usage
from tests.support.lens import FakeSnapshot


@pytest.fixture
def folder() -> Iterator[Path]:
    with metrics_folder() as made:
        yield made


def shown(folder: Path, name: str, **labels: str) -> float | None:
    return of_all(folder).get_sample_value(f"sightline_{name}", labels)


def test_counters_and_histograms_are_summed(folder: Path) -> None:
    for worker, calls in (("1", 2), ("2", 3)):
        with joined(folder, worker):
            metrics = Metrics()
            for _ in range(calls):
                metrics.requests.labels("Search", "OK").inc()
                metrics.batches.batch_size.labels("crops").observe(4)
    assert shown(folder, "requests_total", method="Search", code="OK") == 5
    assert shown(folder, "batch_size_sum", batcher="crops") == 20
    assert shown(folder, "batch_size_bucket", batcher="crops", le="4.0") == 5


def test_a_worker_that_starts_again_goes_on_counting(folder: Path) -> None:
    for _ in range(2):
        with joined(folder, "1"):
            Metrics().requests.labels("Search", "OK").inc()
        forget_gauges(folder, "1")
    assert shown(folder, "requests_total", method="Search", code="OK") == 2


def test_a_parent_without_files_and_without_an_audit_log_hides_no_fault_and_reports_none(folder: Path) -> None:
    with joined(folder, "parent"):
        Metrics()
    with joined(folder, "1"):
        worker = Metrics()
    for name, gauge in (("tls_files_usable", worker.tls_files_usable), ("audit_usable", worker.audit_usable)):
        assert shown(folder, name) == 1
        gauge.set(0)
        assert shown(folder, name) == 0


def test_calls_inside_are_summed_and_readiness_is_that_of_the_least_ready(folder: Path) -> None:
    for worker, ready in (("1", 1), ("2", 0)):
        with joined(folder, worker):
            metrics = Metrics()
            metrics.in_flight.inc(3)
            metrics.engine.ready.set(ready)
            CatalogMetrics(metrics).published(FakeSnapshot("shop", f"rev-{worker}"))
    assert shown(folder, "in_flight") == 6
    assert shown(folder, "engine_ready") == 0
    forget_gauges(folder, "2")
    assert shown(folder, "in_flight") == 3
    assert shown(folder, "engine_ready") == 1
    assert shown(folder, "catalog_info", catalog="shop", revision="rev-2") is None


def test_earlier_revision_stays_1_until_every_worker_has_left_it(folder: Path) -> None:
    for worker, revisions in (("1", ("1-aa", "2-bb")), ("2", ("1-aa",)), ("2", ("1-aa", "2-bb"))):
        with joined(folder, worker):
            metrics = Metrics()
            catalogs = CatalogMetrics(metrics)
            snapshots = [FakeSnapshot("shop", revision) for revision in revisions]
            for number, snapshot in enumerate(snapshots):
                catalogs.published(snapshot)
                if number:
                    catalogs.replaced(snapshots[number - 1])
        shown_now = [shown(folder, "catalog_info", catalog="shop", revision=each) for each in ("1-aa", "2-bb")]
        assert shown_now == ([0, 1] if revisions[-1] == "2-bb" else [1, 1])


def test_every_gauge_says_how_workers_become_one() -> None:
    gauges = [each for each in Metrics().registry._collector_to_names if isinstance(each, Gauge)]
    assert len(gauges) > 10
    assert {gauge._multiprocess_mode for gauge in gauges} == {"livesum", "livemin", "livemax"}


def test_nothing_is_shown_twice(folder: Path) -> None:
    for worker in ("parent", "1", "2"):
        with joined(folder, worker):
            Metrics()
    names = [family.name for family in of_all(folder).collect()]
    assert len(names) == len(set(names))
    assert {"sightline_in_flight", "process_resident_memory_bytes", "python_info"} <= set(names)


def test_outside_of_the_block_metrics_are_the_process_own_again(folder: Path) -> None:
    alone = values.ValueClass
    with joined(folder, "1"):
        assert values.ValueClass is not alone
    assert values.ValueClass is alone
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    Metrics().in_flight.inc()
    assert not list(folder.glob("*.db"))


def test_a_folder_is_new_and_goes_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone, reused = (tmp_path / f"{PREFIX}{pid}-1-x" for pid in (2**22 + 1, os.getpid()))
    kept = sorted([tmp_path / f"{PREFIX}{own_identity()}-other", tmp_path / f"{PREFIX}nobody"])
    for each in (gone, reused, *kept):
        each.mkdir()
        (each / "gauge_livesum_1.db").write_bytes(b"old")
    with metrics_folder() as made:
        assert list(made.iterdir()) == []
        assert made.stat().st_mode & 0o777 == 0o700
        assert sorted(tmp_path.iterdir()) == sorted([*kept, made])
    assert sorted(tmp_path.iterdir()) == kept


def test_a_process_tells_what_it_takes() -> None:
    metrics = Metrics()
    usage = Usage(metrics, "3")
    usage.tell()
    spent = sum(number * number for number in range(200_000))
    usage.tell()
    value = metrics.registry.get_sample_value
    assert spent
    assert 10e6 < (value("sightline_worker_resident_memory_bytes", {"worker": "3"}) or 0) < 100e9
    assert (value("sightline_worker_open_fds", {"worker": "3"}) or 0) >= 3
    cpu = value("sightline_worker_cpu_seconds_total", {"worker": "3"}) or 0
    assert cpu == pytest.approx(sum(os.times()[:2]), abs=0.5)
