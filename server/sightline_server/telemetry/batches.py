"""The metrics of batchers, and of the work that lets searches go first.

Rule: a batcher is a label of few values; each finds its own metrics once, when it is built.
"""

from sightline_server.telemetry.buckets import QUEUE_BUCKETS, STAGE_BUCKETS
from sightline_server.telemetry.making import Maker

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class BatchSeries:
    """The metric objects; `metrics.Metrics` has one."""

    def __init__(self, make: Maker) -> None:
        self.queue_seconds = make.histogram(
            "queue_seconds", "Seconds that an entry waited for its batch.", QUEUE_BUCKETS, "batcher"
        )
        self.batch_size = make.histogram("batch_size", "Items in a batch.", BATCH_BUCKETS, "batcher")
        self.batch_seconds = make.histogram(
            "batch_seconds", "Seconds from forming a batch to its answer.", STAGE_BUCKETS, "batcher"
        )
        self.queue_items = make.gauge(
            "queue_items", "Items that waited when the latest batch was formed.", "batcher", over_workers="livesum"
        )
        self.dropped_items = make.counter(
            "dropped_items", "Items that a queue refused or dropped without running them.", "batcher", "reason"
        )
        self.wasted_items = make.counter(
            "wasted_items", "Items that were run although their call had ended.", "batcher"
        )
        self.background_wait_seconds = make.histogram(
            "background_wait_seconds",
            "Seconds that images of products waited for their turn at the embedder.",
            STAGE_BUCKETS,
        )


class BatcherMetrics:
    """The metrics of one batcher; satisfies `batching.batcher.BatchObserver`."""

    def __init__(self, series: BatchSeries, batcher: str) -> None:
        self._size = series.batch_size.labels(batcher)
        self._took = series.batch_seconds.labels(batcher)
        self._waiting = series.queue_items.labels(batcher)
        self._seconds = series.queue_seconds.labels(batcher)
        self._wasted = series.wasted_items.labels(batcher)
        self._dropped = {
            reason: series.dropped_items.labels(batcher, reason) for reason in ("cancelled", "expired", "full")
        }

    def batch_started(self, size: int, waiting: int) -> None:
        """A batch of `size` items goes to the device, and `waiting` items remain in the queue."""
        self._size.observe(size)
        self._waiting.set(waiting)

    def batch_ended(self, seconds: float) -> None:
        """The device answered or failed, `seconds` after the batch was formed."""
        self._took.observe(seconds)

    def entry_waited(self, seconds: float) -> None:
        """An entry got its slot in a batch after `seconds`."""
        self._seconds.observe(seconds)

    def dropped(self, reason: str, items: int) -> None:
        """`items` were refused or dropped without being run: `expired`, `cancelled` or `full`."""
        self._dropped[reason].inc(items)

    def wasted(self, items: int) -> None:
        """`items` were run although their call had been cancelled."""
        self._wasted.inc(items)
