"""The waits of one merge for searches.

Rule: a merge is never urgent and always ends: each wait is bounded, and so are all of them together.
"""

from collections.abc import Callable

GiveWay = Callable[[float], None]
"""Waits in the calling thread until no search runs, for so many seconds at most."""

ONCE_S = 0.5
TOTAL_S = 10.0
"""Seconds that one wait, and all waits of a merge, may take. What is written meanwhile is searched exactly."""


def at_once(_seconds: float) -> None:
    """A `GiveWay` where nothing is searched by this process."""


class Patience:
    """Waits between the pieces of a merge, until `end` is called or they have taken `TOTAL_S` together."""

    def __init__(self, give_way: GiveWay, clock: Callable[[], float]) -> None:
        self._give_way = give_way
        self._clock = clock
        self._left_s = TOTAL_S

    def wait(self) -> None:
        """Lets searches go first, between two pieces of work of some milliseconds each."""
        if self._left_s <= 0:
            return
        began = self._clock()
        self._give_way(min(ONCE_S, self._left_s))
        self._left_s -= self._clock() - began

    def end(self) -> None:
        """Ends all waits but one that has begun: the end of the merge is waited for. Any thread may call it."""
        self._left_s = 0.0
