"""The metrics of catalogs that are written while they are searched.

Rule: a catalog has series from its opening to its closing and at no other time, so a server without a living catalog
has none, and no name that a caller wrote becomes a label.
"""

import logging

from prometheus_client import Gauge
from prometheus_client.metrics import MetricWrapperBase

from sightline_server.domain.living import LivingFigures, WriteRefusal
from sightline_server.telemetry.buckets import COMMIT_BUCKETS
from sightline_server.telemetry.making import Maker
from sightline_server.telemetry.shared import is_joined

log = logging.getLogger(__name__)

MOST_CATALOGS = 100
"""Catalogs that have series at the same time; each has about 100 of them."""
FRESHNESS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds; one is the bound of the objective."""
WORK_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
FRESHNESS_OUTCOMES = ("found", "missed", "undecided", "failed")
GAUGES = {
    "log_operations": ("catalog_log_operations", "Operations in the log that no checkpoint has."),
    "log_bytes": ("catalog_log_bytes", "Bytes of the log's files."),
    "base_images": ("catalog_base_images", "Images in the base index, dead ones included."),
    "delta_images": ("catalog_delta_images", "Images in the delta, dead ones included."),
    "merge_at_images": ("catalog_merge_at_images", "Images in the delta with which a merge begins."),
    "dead_images": ("catalog_dead_images", "Images in base and delta that no search returns any more."),
    "base_versions": ("catalog_base_versions", "Versions of the base on the disk."),
    "base_bytes": ("catalog_base_bytes", "Bytes of the base's files on the disk."),
    "last_checkpoint_at": (
        "catalog_checkpoint_timestamp_seconds",
        "Time of the last checkpoint, in Unix time.",
    ),
}
"""Field of `LivingFigures` -> name and text of its gauge."""


class LivingSeries:
    """The metric objects; `metrics.Metrics` has one."""

    def __init__(self, make: Maker, *, products: Gauge, built: Gauge) -> None:
        """`products` and `built` are gauges that every served catalog has; of a living one they follow its writes."""
        self._products, self._built = products, built
        self.gauges = {field: make.gauge(*named, "catalog", over_workers="livemax") for field, named in GAUGES.items()}
        self.disk_free = make.gauge(
            "catalog_disk_free_bytes",
            "Bytes that the server may still write to the disk of the catalog.",
            "catalog",
            over_workers="livemin",
        )
        self.memory = make.gauge(
            "catalog_memory_bytes",
            "Bytes of memory that the index of a catalog takes, by part.",
            *("catalog", "part"),
            over_workers="livemax",
        )
        self.operations = make.counter("catalog_operations", "Operations that were acknowledged.", "catalog")
        self.refused = make.counter(
            "catalog_refused_writes", "Valid writes that were not taken, by reason.", "catalog", "reason"
        )
        self.commit_seconds = make.histogram(
            "catalog_commit_seconds", "Seconds of the transaction of a group of writes.", COMMIT_BUCKETS, "catalog"
        )
        self.checkpoint_seconds = make.histogram(
            "catalog_checkpoint_seconds", "Seconds of a checkpoint.", WORK_BUCKETS, "catalog"
        )
        self.checkpoint_failures = make.counter("catalog_checkpoint_failures", "Checkpoints that failed.", "catalog")
        self.merge_seconds = make.histogram(
            "catalog_merge_seconds", "Seconds of a merge of the delta into a new base.", WORK_BUCKETS, "catalog"
        )
        self.merge_failures = make.counter("catalog_merge_failures", "Merges that failed.", "catalog")
        self.freshness_seconds = make.histogram(
            "catalog_freshness_seconds",
            "Seconds from the acknowledgement of a sampled product until a search had returned it.",
            FRESHNESS_BUCKETS,
            "catalog",
        )
        self.freshness_checks = make.counter(
            "catalog_freshness_checks", "Sampled products that were searched, by outcome.", "catalog", "outcome"
        )
        self._all: tuple[MetricWrapperBase, ...] = (
            *(*self.gauges.values(), self.disk_free, self.memory, self.operations, self.refused, self.commit_seconds),
            *(self.checkpoint_seconds, self.checkpoint_failures, self.merge_seconds, self.merge_failures),
            *(self.freshness_seconds, self.freshness_checks),
        )

    def begin(self, catalog: str) -> None:
        """Begins the counters at 0: one that appears with its first event hides that event from `rate()`."""
        for counter in (self.operations, self.checkpoint_failures, self.merge_failures):
            counter.labels(catalog)
        for histogram in (self.commit_seconds, self.checkpoint_seconds, self.merge_seconds, self.freshness_seconds):
            histogram.labels(catalog)
        for reason in WriteRefusal:
            self.refused.labels(catalog, reason.value)
        for outcome in FRESHNESS_OUTCOMES:
            self.freshness_checks.labels(catalog, outcome)

    def show(self, catalog: str, figures: LivingFigures) -> None:
        """Sets every gauge."""
        self._products.labels(catalog).set(figures.products)
        self._built.labels(catalog).set(figures.last_checkpoint_at)
        for field, gauge in self.gauges.items():
            gauge.labels(catalog).set(getattr(figures, field))
        self.disk_free.labels(catalog).set(figures.disk_free_bytes)
        self.memory.labels(catalog, "base").set(figures.base_memory_bytes)
        self.memory.labels(catalog, "delta").set(figures.delta_memory_bytes)

    def end(self, catalog: str) -> None:
        """Removes every series of `catalog`."""
        for metric in self._all:
            metric.remove_by_labels({"catalog": catalog})


class LivingMetrics:
    """Satisfies `ports.LivingObserver` and `search.freshness.FreshnessObserver`. Any thread may call it."""

    def __init__(self, series: LivingSeries) -> None:
        self._series = series
        self._open: set[str] = set()

    def opened(self, catalog: str, figures: LivingFigures) -> None:
        """`catalog` can be written from now on."""
        if len(self._open) >= MOST_CATALOGS and catalog not in self._open:
            log.warning("catalog %s has no metrics: %d other living catalogs have", catalog, MOST_CATALOGS)
            return
        self._open.add(catalog)
        self._series.begin(catalog)
        self._series.show(catalog, figures)

    def closed(self, catalog: str) -> None:
        """`catalog` is not written any more: its series end."""
        if catalog in self._open:
            self._open.remove(catalog)
            # Shared files keep every label that was ever written into them.
            if not is_joined():
                self._series.end(catalog)

    def figures(self, catalog: str, figures: LivingFigures) -> None:
        """`catalog` has these sizes now."""
        if catalog in self._open:
            self._series.show(catalog, figures)

    def acknowledged(self, catalog: str, operations: int, commit_s: float) -> None:
        """A group of `operations` is on the disk and published; its transaction took `commit_s` seconds."""
        if catalog in self._open:
            self._series.operations.labels(catalog).inc(operations)
            self._series.commit_seconds.labels(catalog).observe(commit_s)

    def refused(self, catalog: str, reason: WriteRefusal) -> None:
        """A valid write was not taken."""
        if catalog in self._open:
            self._series.refused.labels(catalog, reason.value).inc()

    def checkpointed(self, catalog: str, seconds: float, revision: str) -> None:
        """A checkpoint made `revision` in so many seconds."""
        if catalog in self._open:
            self._series.checkpoint_seconds.labels(catalog).observe(seconds)
        log.info("catalog %s: checkpoint %s took %.3f s", catalog, revision, seconds)

    def checkpoint_failed(self, catalog: str) -> None:
        """A checkpoint failed; the log has its operations."""
        if catalog in self._open:
            self._series.checkpoint_failures.labels(catalog).inc()

    def merged(self, catalog: str, seconds: float) -> None:
        """A new base index with the delta in it was built and swapped in, in so many seconds."""
        if catalog in self._open:
            self._series.merge_seconds.labels(catalog).observe(seconds)

    def merge_failed(self, catalog: str) -> None:
        """A merge failed; the base and delta from before it are searched."""
        if catalog in self._open:
            self._series.merge_failures.labels(catalog).inc()

    def found(self, catalog: str, freshness_s: float) -> None:
        """A search returned a sampled product, so many seconds after its acknowledgement."""
        if catalog in self._open:
            self._series.freshness_seconds.labels(catalog).observe(freshness_s)
            self._series.freshness_checks.labels(catalog, "found").inc()

    def not_found(self, catalog: str, outcome: str) -> None:
        """A check of a sampled product ended without it; `outcome` is one of `FRESHNESS_OUTCOMES`."""
        if catalog in self._open:
            self._series.freshness_checks.labels(catalog, outcome).inc()
