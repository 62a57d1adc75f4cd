"""The seconds of one call by stage, and the stage in which it was cancelled.

The answer's timings and the stage histograms come from the same watch.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sightline_server.domain.events import StageTimings
from sightline_server.ports import Clock
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF, Tracing

STAGES = ("decode", "detect", "crop", "embed", "search", "rank")
PLACES = (
    *((stage, moment) for stage in STAGES if stage != "rank" for moment in ("before", "in")),
    *((stage, "after") for stage in ("decode", "detect", "rank")),
)
"""The moments at which a call can be cancelled: while a stage waits for its thread or its batch, while it runs, and
while the event after it is sent. Ranking neither waits nor pauses."""


class Stopwatch:
    """Seconds of one call by stage. `queue` is the time that its entries waited for their batches.

    `left` is the moment, one of `PLACES`, at which the call was cancelled.
    """

    def __init__(self, clock: Clock, tracing: Tracing = OFF) -> None:
        self._clock = clock
        self._tracing = tracing
        self._started = clock()
        self._seconds: dict[str, float] = {}
        self._runs = False
        self.queue = 0.0
        self.left: tuple[str, str] | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's seconds to those of stage `name`, and traces it."""
        begun = self._clock()
        self._runs = False
        try:
            with self._tracing.stage(name):
                yield
        except asyncio.CancelledError:
            self.left = (name, "in" if self._runs else "before")
            raise
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - begun

    def runs(self) -> None:
        """The stage's work has begun; until then it waits. Any thread may say so."""
        self._runs = True

    def left_after(self) -> None:
        """The call ended while an event was being sent."""
        for stage in reversed(STAGES):
            if stage in self._seconds:
                self.left = (stage, "after")
                return

    def timings(self) -> StageTimings:
        """The call's timings up to now; a stage that it skipped took 0 s."""
        stages = {name: self._seconds.get(name, 0.0) for name in STAGES}
        return StageTimings(**stages, queue=self.queue, total=self._clock() - self._started)

    def report(self, metrics: Metrics) -> None:
        """Observes each stage that the call reached, once, and where it was left."""
        if self.left:
            metrics.left_calls.labels(*self.left).inc()
        for name, seconds in self._seconds.items():
            metrics.stage_seconds.labels(name).observe(seconds)
