"""What a generator can be asked to play: calls on a schedule, callers in a closed loop, callers who leave."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from load_tests.caller import PATIENT, Manner


@dataclass(frozen=True, slots=True)
class Due:
    """One call of a schedule: seconds from the start, which request, and how its caller behaves."""

    at: float
    request: int
    manner: Manner = PATIENT


@dataclass(frozen=True, slots=True)
class Moment:
    """When a caller leaves: at most `within_s` after the event `after` ("" is its start); one of `weight` callers."""

    after: str
    within_s: float
    weight: float

    def draw(self, source: random.Random) -> Manner:
        """A caller who leaves then."""
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
    """`callers` who call and leave until `calls` calls were left; others that ended before do not count."""

    callers: int
    calls: int
    requests: int
    moments: Sequence[Moment]
    seed: int
