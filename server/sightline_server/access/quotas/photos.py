"""The quota of the person behind a grant: so many photos a minute for the pseudonym in its claim `rate`.

Rule: a pseudonym leaves this process in no form; its bucket has a name that only the key of the hour can make. What
was used under the key of the hour before is moved to the new name, so a change of keys gives nobody more photos.
"""

from collections.abc import Callable, Iterable

from sightline_server.access.quotas.buckets import BUSY
from sightline_server.access.quotas.quota import MINUTE_S, PHOTOS, Quota, Rate
from sightline_server.access.quotas.refusal import photos_not_counted, photos_used_up
from sightline_server.access.quotas.tables import QuotaTables


class PhotoQuota:
    """Counts photos by pseudonym in `tables`, each at `rate`.

    `clock` is monotonic and the same in all processes. `on_limited` is called with each principal and the kinds of
    bounds when one of its grants has a pseudonym for the first time.
    """

    def __init__(
        self,
        rate: Rate,
        tables: QuotaTables,
        *,
        clock: Callable[[], float],
        on_limited: Callable[[str, Iterable[str]], object] = lambda principal, kinds: None,
    ) -> None:
        self._rate = rate
        self._quota = Quota(calls=rate)
        self._tables = tables
        self._clock = clock
        self._on_limited = on_limited
        self._seen: set[str] = set()

    def take(self, pseudonym: str, principal: str) -> None:
        """Takes one photo of `pseudonym`, which comes in a grant that `principal` sent.

        Raises `SightlineError` of kind QUOTA_EXCEEDED, and then nothing is taken.
        """
        if principal not in self._seen:
            self._seen.add(principal)
            self._on_limited(principal, (PHOTOS,))
        buckets, names, now = self._tables.pseudonyms, self._tables.keys.names(pseudonym), self._clock()
        carried = buckets.move_out(names.previous, self._quota, now) if names.previous else 0.0
        outcome = buckets.take(names.current, self._quota, now, carried=carried)
        if outcome.refused_by == BUSY:
            raise photos_not_counted(outcome.wait_s)
        if outcome.refused_by:
            raise photos_used_up(self._rate, outcome.wait_s)


def empty_after_s(rate: Rate) -> float:
    """Seconds after which a bucket that is not used has no count left."""
    return rate.burst / rate.per_minute * MINUTE_S
