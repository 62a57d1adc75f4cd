"""Admission before a model of a server, in virtual time: the waiting time in an overload after quieter times.

The model takes up to `BATCH` waiting calls at once and `CAPACITY` calls a second, as a machine does whose batches cost
what their items cost one by one. What the limit learns, it learns a second late.
"""

import heapq
import itertools
import random
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.slots import Admission, ServerState, Visit
from sightline_server.domain.request import Lane
from sightline_server.errors import SightlineError

CAPACITY = 9.5
BATCH = 4
TARGET_S = 1.0
DEADLINE_S = 2.0
QUIET_S = 50.0
OVERLOAD_S = 20.0


@dataclass
class ModelServer:
    """Plays arrivals against admission; `took` are the seconds of accepted calls, by their arrival."""

    source: random.Random
    now: float = 0.0
    took: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit = AdaptiveLimit(target_s=TARGET_S, floor=2, ceiling=64)
        self.door = Admission(limit=limit, engine_ready=lambda: True, clock=lambda: self.now)
        self.door.state = ServerState.SERVING
        self.waiting: list[tuple[float, ExitStack, Visit]] = []

    def play(self, arrivals: list[float]) -> None:
        """Calls that come at the instants `arrivals`; returns when all have left."""
        events: list[tuple[float, list[tuple[float, ExitStack, Visit]] | None]] = []
        coming = iter([*arrivals, float("inf")])
        due = next(coming)
        while due != float("inf") or events:
            if not events or due < events[0][0]:
                self.now = due
                due = next(coming)
                self.arrive()
            else:
                self.now, batch = heapq.heappop(events)
                for call in batch or ():
                    self.leave(call)
            if self.waiting and not events:
                batch, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
                seconds = sum(self.source.gauss(1.0, 0.15) for _ in batch) / CAPACITY
                heapq.heappush(events, (self.now + seconds, batch))

    def arrive(self) -> None:
        stack = ExitStack()
        try:
            visit = stack.enter_context(self.door.enter(deadline=self.now + DEADLINE_S, lane=Lane.INTERACTIVE))
        except SightlineError:
            return
        self.waiting.append((self.now, stack, visit))

    def leave(self, call: tuple[float, ExitStack, Visit]) -> None:
        came, stack, visit = call
        visit.answered()
        stack.close()
        self.took.append((came, self.now - came))


def poisson(source: random.Random, rate: float, until: float) -> list[float]:
    gaps = (source.expovariate(rate) for _ in itertools.count())
    return list(itertools.takewhile(lambda at: at < until, itertools.accumulate(gaps)))


@pytest.mark.parametrize("seed", range(10))
def test_an_overload_lets_nobody_in_who_would_wait_much_longer_than_the_target(seed: int) -> None:
    source = random.Random(seed)
    server = ModelServer(source)
    rate = 3.0 * CAPACITY
    overload = [QUIET_S + number / rate for number in range(int(OVERLOAD_S * rate))]
    server.play([*poisson(source, 0.7 * CAPACITY, QUIET_S), *overload])
    late = [took for came, took in server.took if came >= QUIET_S]
    assert max(late) < 1.75 * TARGET_S
    assert len(late) >= 0.95 * CAPACITY * OVERLOAD_S, "the machine is not left idle"
