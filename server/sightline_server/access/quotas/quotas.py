"""The quotas of a server: taken at the headers of a call, charged for its messages, given back at its end.

    with quotas.of(principal) as entered:   calls a minute, open calls, no bytes owed
        entered.charge(len(message))        bytes a minute
Rule: a call keeps the quota that it began with; the next one has that of the policy at its time.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from sightline_server.access.quotas.buckets import Buckets
from sightline_server.access.quotas.quota import NO_QUOTA, WHOLE, Quota, Share
from sightline_server.access.quotas.refusal import refused
from sightline_server.access.quotas.tables import QuotaTables


class Entered(Protocol):
    """One call under its quota, from `with` to the end of the block."""

    @property
    def share(self) -> Share:
        """The part of the slots that its caller may take."""

    def __enter__(self) -> Self:
        """Takes what the headers decide. Raises `SightlineError` of kind QUOTA_EXCEEDED."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The call has ended."""

    def charge(self, size: int) -> None:
        """A message of `size` bytes was read. Raises `SightlineError` of kind QUOTA_EXCEEDED."""


class CallQuotas(Protocol):
    """The quotas of calls by the names of their principals."""

    def of(self, principal: str) -> Entered:
        """A call of `principal`, to be entered."""


class Unlimited:
    """Satisfies `CallQuotas` and `Entered` without any bound."""

    share = WHOLE

    def of(self, principal: str) -> "Unlimited":
        """See `CallQuotas`."""
        return self

    def __enter__(self) -> Self:
        """See `Entered`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Entered`."""

    def charge(self, size: int) -> None:
        """See `Entered`."""


UNLIMITED = Unlimited()


class Quotas:
    """Satisfies `CallQuotas` by `quota_of`, the policy at each moment, and counts in `tables`.

    `clock` is monotonic and the same in all processes. `on_limited` is called with each principal and its bounds when
    it is seen with them for the first time.
    """

    def __init__(
        self,
        quota_of: Callable[[str], Quota],
        tables: QuotaTables,
        *,
        clock: Callable[[], float],
        on_limited: Callable[[str, Iterable[str]], object] = lambda principal, kinds: None,
    ) -> None:
        self._quota_of = quota_of
        self._tables = tables
        self._clock = clock
        self._on_limited = on_limited
        self._seen: dict[str, Quota] = {}

    def of(self, principal: str) -> Entered:
        """See `CallQuotas`."""
        quota = self._quota_of(principal)
        if quota is NO_QUOTA:
            return UNLIMITED
        if self._seen.get(principal) is not quota:
            self._seen[principal] = quota
            self._on_limited(principal, quota.kinds)
        return Counted(self._tables.principals, principal, quota, self._clock)


class Counted:
    """Satisfies `Entered` for a principal with a quota."""

    __slots__ = ("_buckets", "_clock", "_key", "_quota", "_record", "share")

    def __init__(self, buckets: Buckets, principal: str, quota: Quota, clock: Callable[[], float]) -> None:
        self._buckets = buckets
        self._key = principal.encode()
        self._quota = quota
        self._clock = clock
        self._record = -1
        self.share = WHOLE if quota.share is None else Share(principal, quota.share)

    def __enter__(self) -> Self:
        """See `Entered`."""
        if self._quota.counted:
            outcome = self._buckets.enter(self._key, self._quota, self._clock())
            if outcome.refused_by:
                raise refused(outcome.refused_by, self._quota, outcome.wait_s)
            self._record = outcome.record
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Entered`."""
        if self._record >= 0:
            self._buckets.leave(self._record)

    def charge(self, size: int) -> None:
        """See `Entered`."""
        if self._quota.bytes is not None:
            outcome = self._buckets.charge(self._key, self._quota, size, self._clock())
            if outcome.refused_by:
                raise refused(outcome.refused_by, self._quota, outcome.wait_s)
