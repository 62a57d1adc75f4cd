"""The tasks of a generator: calls on a schedule, callers in a closed loop, calls that are cancelled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.generator.caller import PATIENT, Manner


@dataclass(frozen=True, slots=True)
class Due:
    """One call of a schedule: seconds from the start, which request, and how its caller behaves."""

    at: float
    request: int
    manner: Manner = PATIENT


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a cancellation: at most `within_s` after the event `after` ("" is its start); one of `weight`
    callers."""

    after: str
    within_s: float
    weight: float

    def draw(self, source: random.Random) -> Manner:
        """A caller that cancels at that moment."""
        return Manner(leave_after=self.after, leave_s=source.uniform(0.0, self.within_s))


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Calls that start when they are due, whatever the server does."""

    calls: Sequence[Due]


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """`callers` calls under way for `seconds`, over the first `requests` requests in turn."""

    callers: int
    seconds: float
    requests: int


@dataclass(frozen=True, slots=True)
class Abandonment:
    """`callers` that call and cancel until `calls` calls were cancelled; others that ended before do not count."""

    callers: int
    calls: int
    requests: int
    moments: Sequence[Moment]
    seed: int
