"""The seconds of one call by stage, and the stage in which it was cancelled.

The answer's timings and the stage histograms come from the same watch. Objects of one photo go through the later stages
side by side, so each run of a stage is a `Step` with its own state, and time that several steps share counts once.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sightline_server.domain.events import StageTimings
from sightline_server.domain.stages import STAGE_NAMES, STAGES, Stage, Wait
from sightline_server.ports import Clock
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.tracing import OFF, Tracing

PLACES = (
    *((stage.name, moment) for stage in STAGES if stage.waits_for is not Wait.NOTHING for moment in ("before", "in")),
    *((stage.name, "after") for stage in STAGES if stage.sends),
)
"""The moments at which a call can be cancelled: while a stage waits for its thread or its batch, while it runs, and
while the event after it is sent."""


class Overlap:
    """The seconds in which at least one of several periods was open."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = 0
        self._since = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        """One more period begins."""
        if not self._open:
            self._since = self._clock()
        self._open += 1

    def end(self) -> None:
        """One of the open periods ends."""
        self._open -= 1
        if not self._open:
            self.seconds += self._clock() - self._since


class Step:
    """One run of a stage, for one object of the call or for several."""

    def __init__(self, queue: Overlap | None) -> None:
        """`queue` counts the wait for a batch; None for a stage without batches."""
        self._queue = queue
        self.running = False
        if queue:
            queue.begin()

    def runs(self) -> None:
        """The step's work has begun; until then it waits. Any thread may call this for a step without batches."""
        if not self.running:
            self.running = True
            self._leave_queue()

    def ended(self) -> None:
        """The step is over, whether its work had begun or not."""
        if not self.running:
            self._leave_queue()

    def _leave_queue(self) -> None:
        if self._queue:
            self._queue.end()


class Stopwatch:
    """The seconds of one call by stage.

    `left` is the moment, one of `PLACES`, at which the call was cancelled if it was.
    """

    def __init__(self, clock: Clock, tracing: Tracing = OFF) -> None:
        self._clock = clock
        self._tracing = tracing
        self._started = clock()
        self._stages: dict[str, Overlap] = {}
        self._queue = Overlap(clock)
        self.left: tuple[str, str] | None = None

    @contextmanager
    def step(self, stage: Stage) -> Iterator[Step]:
        """Times and traces the block as one step of `stage`."""
        spent = self._stages.setdefault(stage.name, Overlap(self._clock))
        spent.begin()
        step = Step(self._queue if stage.waits_for is Wait.BATCH else None)
        try:
            with self._tracing.stage(stage.name):
                yield step
        except asyncio.CancelledError:
            self._left_at(stage.name, "in" if step.running else "before")
            raise
        finally:
            step.ended()
            spent.end()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """The block in which an event is sent; a call that ends there was left after the latest stage that sends."""
        try:
            yield
        except GeneratorExit:
            reached = [stage.name for stage in STAGES if stage.sends and stage.name in self._stages]
            if reached:
                self._left_at(reached[-1], "after")
            raise

    def _left_at(self, stage: str, moment: str) -> None:
        # The first moment is the call's own; the steps that are cancelled because of it come later.
        self.left = self.left or (stage, moment)

    def timings(self) -> StageTimings:
        """The call's timings up to now; a stage that it skipped took 0 s."""
        stages = {name: self._stages[name].seconds if name in self._stages else 0.0 for name in STAGE_NAMES}
        return StageTimings(stages, self._queue.seconds, self._clock() - self._started)

    def count_left(self, metrics: Metrics) -> None:
        """Counts a cancelled call at the moment at which it was left."""
        if self.left:
            metrics.left_calls.labels(*self.left).inc()

    def report(self, metrics: Metrics) -> None:
        """Observes each stage that the call reached, once."""
        for name, spent in self._stages.items():
            metrics.stage_seconds.labels(name).observe(spent.seconds)
