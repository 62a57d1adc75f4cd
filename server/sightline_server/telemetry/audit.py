"""The metrics of the audit log."""

from sightline_server.telemetry.metrics import Metrics


class AuditMetrics:
    """Satisfies `access.audit_log.group_commit.AuditObserver`. Any thread may call it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def written(self, records: int, seconds: float) -> None:
        """A group of `records` is on the disk after `seconds`."""
        self._metrics.audit_records.inc(records)
        self._metrics.audit_commit_seconds.observe(seconds)
        self._metrics.audit_usable.set(1)

    def failed(self, records: int) -> None:
        """A group of `records` could not be written."""
        self._metrics.audit_failures.inc(records)
        self._metrics.audit_usable.set(0)
