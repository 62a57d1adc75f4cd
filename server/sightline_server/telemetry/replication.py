"""The metrics of catalogs that follow another server's revisions, and of those that are published.

Rule: times, not ages, say whether a replica is in step: an age that is not updated any more would seem healthy.
"""

import time

from sightline_server.telemetry.making import Maker


class ReplicationSeries:
    """The metric objects; `metrics.Metrics` has one."""

    def __init__(self, make: Maker) -> None:
        self.in_step_at = make.gauge(
            "replica_in_step_timestamp_seconds",
            "Time at which the newest published revision of a catalog was known to be served here, in Unix time.",
            "catalog",
            over_workers="livemin",
        )
        self.lag = make.gauge(
            "replica_lag_seconds",
            "Seconds since the publication of a revision or operations that are not served here yet; 0 without.",
            "catalog",
            over_workers="livemax",
        )
        self.failures = make.counter(
            "replica_failures", "Attempts to take what is published that failed, by reason.", "catalog", "reason"
        )
        self.operations = make.counter(
            "replica_operations",
            "Operations of the writer of a catalog that were applied here between two of its revisions.",
            "catalog",
        )
        self.published_at = make.gauge(
            "publication_in_step_timestamp_seconds",
            "Time at which the current revision of a catalog was known to be published, in Unix time.",
            "catalog",
            over_workers="livemin",
        )

    def followed(self, catalog: str, reasons: tuple[str, ...]) -> None:
        """`catalog` is followed from now on; failures of all `reasons` begin at 0."""
        self.in_step(catalog)
        self.operations.labels(catalog)
        for reason in reasons:
            self.failures.labels(catalog, reason)

    def in_step(self, catalog: str) -> None:
        """The newest revision of `catalog` is served now."""
        self.in_step_at.labels(catalog).set(time.time())
        self.lag.labels(catalog).set(0)

    def applied(self, catalog: str, operations: int) -> None:
        """`operations` more of the writer of `catalog` are served."""
        self.operations.labels(catalog).inc(operations)

    def behind(self, catalog: str, reason: str, published_at: float | None) -> None:
        """A revision or operations of `catalog`, published at the Unix time `published_at`, are not served yet.

        None where it is not known whether there is one.
        """
        self.failures.labels(catalog, reason).inc()
        if published_at is not None:
            self.lag.labels(catalog).set(max(0.0, time.time() - published_at))

    def published(self, catalog: str) -> None:
        """The current revision of `catalog` is published now, or its publishing begins."""
        self.published_at.labels(catalog).set(time.time())
