"""The metrics of living catalogs: each event has its series, and a catalog has series only while it is open."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest

from sightline_server.domain.living import UNOBSERVED, LivingFigures, WriteRefusal
from sightline_server.ports import LivingObserver
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.living import FRESHNESS_OUTCOMES, MOST_CATALOGS, LivingMetrics
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.shared import joined, metrics_folder, of_all
from tests.support.lens import FakeSnapshot

if TYPE_CHECKING:
    # Here mypy compares both with the port.
    _observer: LivingObserver = LivingMetrics(Metrics().living)
    _nobody: LivingObserver = UNOBSERVED

FIGURES = LivingFigures(
    products=600,
    log_operations=7,
    log_bytes=4096,
    base_images=900,
    delta_images=11,
    merge_at_images=10_000,
    dead_images=3,
    base_memory_bytes=90_000,
    delta_memory_bytes=1100,
    base_versions=5,
    base_bytes=123_456,
    disk_free_bytes=10**9,
    last_checkpoint_at=1.7e9,
)
EVERY_CATALOG = ("sightline_catalog_products", "sightline_catalog_built")
"""Gauges that the registry of catalogs ends with its revisions."""
GAUGES = {
    "products": "products",
    "log_operations": "log_operations",
    "log_bytes": "log_bytes",
    "base_images": "base_images",
    "delta_images": "delta_images",
    "merge_at_images": "merge_at_images",
    "dead_images": "dead_images",
    "base_versions": "base_versions",
    "base_bytes": "base_bytes",
    "disk_free_bytes": "disk_free_bytes",
    "last_checkpoint_at": "checkpoint_timestamp_seconds",
    "base_memory_bytes": "memory_bytes base",
    "delta_memory_bytes": "memory_bytes delta",
}
"""Field -> gauge without prefix, and its part."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def lines(metrics: Metrics, catalog: str = "shop") -> list[str]:
    """The lines of /metrics that name `catalog`."""
    return [line for line in generate_latest(metrics.registry).decode().splitlines() if f'catalog="{catalog}"' in line]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"sightline_catalog_{name}", {"catalog": "shop", **labels})


def test_each_figure_is_a_gauge(metrics: Metrics) -> None:
    assert set(GAUGES) == {field.name for field in fields(LivingFigures)}
    observer = LivingMetrics(metrics.living)
    observer.opened("shop", FIGURES)
    for times, field in enumerate(GAUGES, start=2):
        observer.figures("shop", replace(FIGURES, **{field: times * getattr(FIGURES, field)}))
        name, *part = GAUGES[field].split()
        assert value(metrics, name, **({"part": part[0]} if part else {})) == times * getattr(FIGURES, field)


@pytest.mark.parametrize(
    ("event", "name", "labels", "expected"),
    [
        (lambda seen: seen.acknowledged("shop", 40, 0.02), "operations_total", {}, 40),
        (lambda seen: seen.acknowledged("shop", 40, 0.02), "commit_seconds_count", {}, 1),
        (lambda seen: seen.acknowledged("shop", 40, 0.02), "commit_seconds_sum", {}, 0.02),
        (lambda seen: seen.refused("shop", WriteRefusal.DISK_FULL), "refused_writes_total", {"reason": "disk_full"}, 1),
        (lambda seen: seen.checkpointed("shop", 0.5, "2-aa"), "checkpoint_seconds_sum", {}, 0.5),
        (lambda seen: seen.checkpoint_failed("shop"), "checkpoint_failures_total", {}, 1),
        (lambda seen: seen.merged("shop", 4.0), "merge_seconds_sum", {}, 4),
        (lambda seen: seen.merge_failed("shop"), "merge_failures_total", {}, 1),
        (lambda seen: seen.found("shop", 0.03), "freshness_seconds_sum", {}, 0.03),
        (lambda seen: seen.found("shop", 0.03), "freshness_checks_total", {"outcome": "found"}, 1),
        (lambda seen: seen.not_found("shop", "missed"), "freshness_checks_total", {"outcome": "missed"}, 1),
    ],
)
def test_each_event_is_counted_from_zero(
    metrics: Metrics, event: Callable[[LivingMetrics], None], name: str, labels: dict[str, str], expected: float
) -> None:
    observer = LivingMetrics(metrics.living)
    observer.opened("shop", FIGURES)
    assert value(metrics, name, **labels) == 0, "the first event would be hidden from rate()"
    event(observer)
    assert value(metrics, name, **labels) == expected


def test_every_reason_and_outcome_begins_at_zero(metrics: Metrics) -> None:
    LivingMetrics(metrics.living).opened("shop", FIGURES)
    assert {value(metrics, "refused_writes_total", reason=each.value) for each in WriteRefusal} == {0}
    assert {value(metrics, "freshness_checks_total", outcome=each) for each in FRESHNESS_OUTCOMES} == {0}


def test_age_of_a_living_catalog_is_that_of_its_last_checkpoint(metrics: Metrics) -> None:
    LivingMetrics(metrics.living).opened("shop", FIGURES)
    assert value(metrics, "built_timestamp_seconds") == 1.7e9


def lines_of_living(metrics: Metrics) -> list[str]:
    """The lines that only a living catalog has."""
    return [line for line in lines(metrics) if not line.startswith(EVERY_CATALOG)]


def send_everything(observer: LivingMetrics, catalog: str) -> None:
    """Every event but `opened` and `closed`."""
    observer.figures(catalog, FIGURES)
    observer.acknowledged(catalog, 1, 0.1)
    observer.refused(catalog, WriteRefusal.FAILED)
    observer.checkpointed(catalog, 0.1, "2-aa")
    observer.checkpoint_failed(catalog)
    observer.merged(catalog, 0.1)
    observer.merge_failed(catalog)
    observer.found(catalog, 0.1)
    observer.not_found(catalog, "failed")


def test_a_name_that_was_not_opened_becomes_no_label(metrics: Metrics) -> None:
    observer = LivingMetrics(metrics.living)
    send_everything(observer, "shop")
    observer.closed("shop")
    assert lines(metrics) == []


def test_a_closed_catalog_has_no_series_and_others_keep_theirs(metrics: Metrics) -> None:
    observer = LivingMetrics(metrics.living)
    for name in ("shop", "other"):
        observer.opened(name, FIGURES)
        send_everything(observer, name)
    before = lines(metrics, "other")
    observer.closed("shop")
    send_everything(observer, "shop")
    assert lines_of_living(metrics) == []
    assert lines(metrics, "other") == before
    observer.opened("shop", FIGURES)
    assert value(metrics, "operations_total") == 0


def test_a_catalog_that_is_only_served_has_none_of_these_series(metrics: Metrics) -> None:
    CatalogMetrics(metrics).published(FakeSnapshot("shop"))
    shown = {line.partition("{")[0] for line in lines(metrics)}
    assert "sightline_catalog_products" in shown
    LivingMetrics(metrics.living).opened("other", FIGURES)
    living = {line.partition("{")[0] for line in lines(metrics, "other")}
    assert shown & living == {"sightline_catalog_products", "sightline_catalog_built_timestamp_seconds"}


def test_the_number_of_catalogs_with_series_is_bounded(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    observer = LivingMetrics(metrics.living)
    for number in range(MOST_CATALOGS):
        observer.opened(f"shop-{number}", FIGURES)
    observer.opened("shop", FIGURES)
    assert lines(metrics) == []
    assert "catalog shop has no metrics" in caplog.text
    observer.closed("shop-0")
    observer.opened("shop", FIGURES)
    assert value(metrics, "log_operations") == 7


def test_a_catalog_costs_few_series(metrics: Metrics) -> None:
    observer = LivingMetrics(metrics.living)
    observer.opened("shop", FIGURES)
    send_everything(observer, "shop")
    assert 50 < len(lines(metrics)) <= 110


def test_closing_in_shared_files_keeps_what_was_counted() -> None:
    with metrics_folder() as folder:
        with joined(folder, "1"):
            observer = LivingMetrics(Metrics().living)
            observer.opened("shop", FIGURES)
            observer.acknowledged("shop", 3, 0.1)
            observer.closed("shop")
        assert of_all(folder).get_sample_value("sightline_catalog_operations_total", {"catalog": "shop"}) == 3


def test_the_observer_that_does_nothing_takes_every_event() -> None:
    UNOBSERVED.opened("shop", FIGURES)
    UNOBSERVED.acknowledged("shop", 1, 0.1)
    UNOBSERVED.refused("shop", WriteRefusal.QUEUE_FULL)
    UNOBSERVED.closed("shop")
