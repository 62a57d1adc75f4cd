"""Used grants in the memory of one process: a grant works once in each process until that ends.

Rule: bounded. Nothing is forgotten while it could be valid, so a full store refuses grants instead.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from sightline_server.access.grants import refusals


class ProcessStore:
    """Satisfies `UsedGrants` for at most `most` grants at a time, each kept for `kept_s` seconds.

    The time is monotonic, so that a clock that is set makes nothing forgotten. For the event loop only.
    """

    def __init__(self, kept_s: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_s = kept_s
        self._most = most
        self._clock = clock
        # In the order of their uses, which is that of their ends, because all are kept equally long.
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    async def use(self, key: bytes) -> bool:
        """See `UsedGrants`. Raises `SightlineError` of kind OVERLOADED where the store is full."""
        now = self._clock()
        self._forget(now)
        if key in self._ends:
            return False
        if len(self._ends) >= self._most:
            raise refusals.store_full()
        self._ends[key] = now + self._kept_s
        return True

    def __len__(self) -> int:
        return len(self._ends)

    def _forget(self, now: float) -> None:
        while self._ends:
            if next(iter(self._ends.values())) > now:
                return
            self._ends.popitem(last=False)
