"""The metrics of the registry of catalogs.

Rule: a catalog's name becomes a label only when one of its revisions is published, so never by what a caller writes.
"""

import logging
from collections import Counter
from datetime import datetime

from sightline_server.domain.filters import PlanKind
from sightline_server.ports import Snapshot
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.shared import is_joined

log = logging.getLogger(__name__)

RELOADS = ("replaced", "unchanged", "failed")
PROBED = ("measured", "failed")


class CatalogMetrics:
    """Satisfies `index.registry.RegistryObserver`, `app.reload.ReloadObserver` and `search.recall.RecallObserver`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._held: Counter[str] = Counter()
        """Revisions in memory, by catalog."""
        self._served: set[str] = set()

    def published(self, snapshot: Snapshot) -> None:
        """`snapshot` is the current revision of its catalog from now on."""
        metrics, name = self._metrics, snapshot.name
        metrics.catalog_products.labels(name).set(snapshot.product_count)
        metrics.index_recall.labels(name).set(snapshot.self_check_recall)
        metrics.catalog_info.labels(name, snapshot.revision).set(1)
        metrics.catalog_built.labels(name).set(datetime.fromisoformat(snapshot.built_at).timestamp())
        self._served.add(name)
        self._count_revisions(name, 1)
        # A counter that appears with its first reload hides that one from rate().
        for outcome in RELOADS:
            metrics.catalog_reloads.labels(name, outcome)
        for outcome in PROBED:
            metrics.recall_sets.labels(name, outcome)
        for plan in PlanKind:
            metrics.filtered_searches.labels(name, plan.value)
        log.info("catalog %s revision %s: %d products", name, snapshot.revision, snapshot.product_count)

    def replaced(self, snapshot: Snapshot) -> None:
        """`snapshot` is no longer the current revision of its catalog."""
        self._metrics.catalog_info.labels(snapshot.name, snapshot.revision).set(0)
        if not is_joined():
            self._metrics.catalog_info.remove(snapshot.name, snapshot.revision)
            # Absent until the next revision is measured: an earlier one's value would hide a bad one.
            self._metrics.recall_at_10.remove(snapshot.name)

    def reloaded(self, catalog: str, outcome: str) -> None:
        """`catalog` was opened again; `outcome` is one of `RELOADS`."""
        self._metrics.catalog_reloads.labels(catalog, outcome).inc()

    def measured(self, catalog: str, recall: float) -> None:
        """A set of probes on the current revision of `catalog` had `recall`, 0..1."""
        self._metrics.recall_at_10.labels(catalog).set(recall)
        self._metrics.recall_sets.labels(catalog, "measured").inc()

    def not_measured(self, catalog: str) -> None:
        """A set of probes on `catalog` got no answer; what was measured before stays."""
        self._metrics.recall_sets.labels(catalog, "failed").inc()

    def freed(self, snapshot: Snapshot) -> None:
        """The memory of `snapshot` has been freed."""
        self._count_revisions(snapshot.name, -1)

    def withdrawn(self, name: str) -> None:
        """Catalog `name` is not served any more: its series end, the number of its revisions with the last of them."""
        self._served.discard(name)
        self._count_revisions(name, 0)
        if is_joined():  # shared files keep every label that was ever written into them
            return
        metrics = self._metrics
        for metric in (
            *(metrics.catalog_products, metrics.index_recall, metrics.catalog_built, metrics.catalog_reloads),
            *(metrics.recall_at_10, metrics.recall_sets, metrics.filtered_searches),
        ):
            metric.remove_by_labels({"catalog": name})

    def _count_revisions(self, name: str, change: int) -> None:
        self._held[name] += change
        self._metrics.catalog_revisions.labels(name).set(self._held[name])
        if not self._held[name] and name not in self._served:
            del self._held[name]
            if not is_joined():
                self._metrics.catalog_revisions.remove(name)
