"""The intended start times of calls. Pure.

Rule: the schedule is made before the run and does not know how the server does (an open loop): a slow answer delays no
later call, and latency counts from the intended start, so that a stall shows in every call that it held up.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run: the rate goes in a straight line from `start_rate` to `end_rate`, both in calls a second."""

    name: str
    seconds: float
    start_rate: float
    end_rate: float

    @property
    def calls(self) -> float:
        """Calls that are due in it."""
        return self.seconds * (self.start_rate + self.end_rate) / 2

    def reached(self, calls: float) -> float:
        """Seconds from the phase's start until `calls` were due; `calls` is at most `self.calls`."""
        if calls <= 0:
            return 0.0
        slope = (self.end_rate - self.start_rate) / self.seconds
        if abs(slope) < 1e-9:
            return calls / self.start_rate
        # The root of start_rate * t + slope * t^2 / 2 = calls, in the form that does not cancel.
        root = math.sqrt(max(0.0, self.start_rate**2 + 2 * slope * calls))
        return 2 * calls / (self.start_rate + root)


def constant(rate_per_s: float, seconds: float) -> Iterator[float]:
    """Seconds from the start of the run, evenly spaced, `rate_per_s` a second."""
    return (place / rate_per_s for place in range(round(rate_per_s * seconds)))


def poisson(rate_per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """Seconds from the start of the run with independent gaps, `rate_per_s` a second on average."""
    return schedule([Phase("steady", seconds, rate_per_s, rate_per_s)], seed=seed)


def schedule(phases: Iterable[Phase], *, seed: int | None = None) -> Iterator[float]:
    """Seconds from the start of the run: even where the rate is, or with `seed` a Poisson process of that rate.

    The gaps are drawn in units of calls due and mapped to time through the rate (time-rescaling, as in Ogata 1981).
    """
    source = random.Random(seed) if seed is not None else None
    begun, due_before, next_due = 0.0, 0.0, source.expovariate(1.0) if source else 0.0
    for phase in phases:
        while next_due - due_before < phase.calls - 1e-9:
            yield begun + phase.reached(next_due - due_before)
            next_due += source.expovariate(1.0) if source else 1.0
        begun += phase.seconds
        due_before += phase.calls
