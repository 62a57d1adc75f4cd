"""The number of calls inside, added up over time.

Rule: exact, and independent of when it is asked: the number at one instant says little where calls are few or long.
"""

from sightline_server.ports import Clock


class Occupancy:
    """The integral of the calls inside over time. For the event loop, which counts them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inside = 0
        self._since = clock()
        self._call_s = 0.0

    def note(self, inside: int) -> None:
        """The number of calls inside is `inside` from now on."""
        now = self._clock()
        self._call_s = self.until(now)
        self._since, self._inside = now, inside

    def until(self, now: float) -> float:
        """Seconds that calls have been inside until `now`, all calls together."""
        return self._call_s + self._inside * (now - self._since)
