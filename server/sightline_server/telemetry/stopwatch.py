"""Where the seconds of one call went; the answer's timings and the stage histograms come from the same watch."""

from collections.abc import Iterator
from contextlib import contextmanager

from sightline_server.domain.events import StageTimings
from sightline_server.ports import Clock
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF, Tracing

STAGES = ("decode", "detect", "crop", "embed", "search", "rank")


class Stopwatch:
    """Seconds of one call by stage. `queue` is what its entries waited for their places in batches."""

    def __init__(self, clock: Clock, tracing: Tracing = OFF) -> None:
        self._clock = clock
        self._tracing = tracing
        self._started = clock()
        self._seconds: dict[str, float] = {}
        self.queue = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to those of stage `name`, and traces it."""
        begun = self._clock()
        try:
            with self._tracing.stage(name):
                yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - begun

    def timings(self) -> StageTimings:
        """The call's timings up to now; a stage that it skipped took 0 s."""
        stages = {name: self._seconds.get(name, 0.0) for name in STAGES}
        return StageTimings(**stages, queue=self.queue, total=self._clock() - self._started)

    def report(self, metrics: Metrics) -> None:
        """Observes each stage that the call reached, once."""
        for name, seconds in self._seconds.items():
            metrics.stage_seconds.labels(name).observe(seconds)
