"""The number of calls that may be inside at once: an adaptive limit in the manner of TCP (AIMD with slow start).
Sans-IO.

Rule: the operator states the time to the first result that callers should see, and the limit is what keeps to it. It
grows by half as long as calls that took half as long again would still keep to that time, then by one for each window
of calls that kept to it while the limit was reached, and shrinks by a tenth for each window that did not (Chiu and
Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989).
"""

from collections import deque
from statistics import quantiles

FIRST_LIMIT = 8
SLOW_START = 1.5
DECREASE = 0.9
WINDOW_AT_LEAST = 5
WINDOW_AT_MOST = 50


class AdaptiveLimit:
    """A limit between `floor` and `ceiling` calls, for first results within `target_s` seconds at p90."""

    def __init__(self, *, target_s: float, floor: int, ceiling: int) -> None:
        self.target_s = target_s
        self._floor = floor
        self._ceiling = ceiling
        self._limit = float(min(ceiling, max(floor, FIRST_LIMIT)))
        self._slow_start = True
        self._window: list[float] = []
        self._most_inside = 0
        self._recent: deque[tuple[float, int]] = deque(maxlen=WINDOW_AT_MOST)

    @property
    def calls(self) -> int:
        """The limit now."""
        return int(self._limit)

    def expected_s(self, inside: int) -> float:
        """Seconds that a call would need to its first result with `inside` calls before it; 0 before anything is known.

        By Little's law the time grows with the number of calls inside, so recent times are scaled by it.
        """
        if len(self._recent) < WINDOW_AT_LEAST:
            return 0.0
        seconds = sum(took for took, _ in self._recent)
        calls = sum(beside for _, beside in self._recent)
        return seconds / calls * (inside + 1)

    def sample(self, seconds: float, inside: int) -> None:
        """Learns that a call with `inside` calls inside, itself included, took `seconds` to its first result."""
        self._recent.append((seconds, max(1, inside)))
        self._window.append(seconds)
        self._most_inside = max(self._most_inside, inside)
        if len(self._window) >= min(max(self.calls, WINDOW_AT_LEAST), WINDOW_AT_MOST):
            self._adapt()

    def _adapt(self) -> None:
        slowest = quantiles(self._window, n=10, method="inclusive")[-1]
        if slowest * SLOW_START > self.target_s:
            # Grown by half it would let in more than it should before the first of them has a result.
            self._slow_start = False
        if slowest > self.target_s:
            self._limit = max(self._floor, self._limit * DECREASE)
        elif self._most_inside >= self.calls:
            grown = self._limit * SLOW_START if self._slow_start else self._limit + 1
            self._limit = min(self._ceiling, grown)
        self._window.clear()
        self._most_inside = 0
