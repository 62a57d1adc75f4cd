"""The one way in which metrics of the server are made: with its prefix, in its registry."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OverWorkers = Literal["livesum", "livemin", "livemax"]
"""The way in which a gauge of several workers becomes one; workers that have ended no longer count."""


class Maker:
    """Makes metrics in `registry`; names are without the prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter, whose name ends in `_total` where it is shown."""
        return Counter(f"sightline_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str, over_workers: OverWorkers) -> Gauge:
        """A gauge."""
        return Gauge(f"sightline_{name}", text, labels, registry=self._registry, multiprocess_mode=over_workers)

    def histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """A histogram with the bounds `buckets`."""
        return Histogram(f"sightline_{name}", text, labels, buckets=buckets, registry=self._registry)
