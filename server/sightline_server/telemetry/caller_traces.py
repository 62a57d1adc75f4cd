"""The bound on traces that callers begin: how often one may make the server record its calls.

Rule: the memory is bounded whatever the number of callers, as for quotas. Counted by each process.
"""

from collections.abc import Callable

from sightline_server.access.quotas.buckets import Buckets, size_of
from sightline_server.access.quotas.memory import OwnMemory
from sightline_server.access.quotas.quota import Quota, Rate

SETS = 64
"""Sets of 16 callers. The principals of most policies fit; of more, those that were idle for longest begin again."""


class CallerTraces:
    """Lets each caller begin `per_minute` traces a minute, all at once after a pause; none where it is 0.

    `clock` is monotonic.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._quota = Quota(calls=Rate(per_minute, per_minute)) if per_minute else None
        self._buckets = Buckets(OwnMemory(size_of(SETS, 0)), sets=SETS)
        self._clock = clock

    def take(self, principal: str) -> bool:
        """Takes one trace of `principal`; returns False where there is none left."""
        if self._quota is None:
            return False
        return not self._buckets.take(principal.encode(), self._quota, self._clock()).refused_by
