"""A bound on the records of calls without a caller: a flood of bad credentials must not fill the disk.

Rule: each such denial has its own record up to a rate. Those above it are counted by what they have in common, and one
record a second says how many there were.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from sightline_server.access.audit import DENIED, AuditRecord

RATE = 50.0
"""Records of unidentified callers that one process writes in a second, on average and at once."""
EVERY_S = 1.0
MOST_KINDS = 64
"""Kinds of denials that are counted separately at the same time."""


class Flood:
    """Counts what is above the rate. `now` gives Unix time in seconds."""

    def __init__(self, now: Callable[[], float], rate: float = RATE) -> None:
        self._now = now
        self._rate = rate
        self._allowed = rate
        self._at = self._summarised_at = now()
        self._held: Counter[AuditRecord] = Counter()

    def holds(self, record: AuditRecord) -> bool:
        """Returns whether `record` is only counted."""
        if record.principal or record.decision != DENIED:
            return False
        now = self._now()
        self._allowed = min(self._rate, self._allowed + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._allowed >= 1.0:
            self._allowed -= 1.0
            return False
        kind = replace(record, request_id="")
        self._held[kind if kind in self._held or len(self._held) < MOST_KINDS else replace(kind, reason="")] += 1
        return True

    def due(self, *, all_now: bool = False) -> list[tuple[AuditRecord, int]]:
        """The kinds of records that were counted, with their counts, once a second; or `all_now`."""
        if not self._held or not (all_now or abs(self._now() - self._summarised_at) >= EVERY_S):
            return []
        self._summarised_at = self._now()
        found = list(self._held.items())
        self._held.clear()
        return found
