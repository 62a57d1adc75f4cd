"""The bounds of one principal, and the arithmetic of the rates among them. Sans-IO.

Rule: a rate is a token bucket, kept as the number of used tokens. It refills at its rate, so a changed rate applies
to what is used already: a larger one gives room at once, and a smaller one does not forget.
"""

from dataclasses import dataclass

CALLS, BYTES, CONCURRENT, SHARE = "calls_per_minute", "bytes_per_minute", "concurrent", "share"
"""The kinds of bounds, by their keys in the policy file. Metrics and `ErrorInfo` name them so."""
PHOTOS = "photos_per_minute"
"""The bound of a pseudonym, by its key in the settings."""
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` tokens a minute, of which up to `burst` may be taken at once."""

    per_minute: int
    burst: int

    @property
    def per_s(self) -> float:
        """Tokens a second."""
        return self.per_minute / MINUTE_S

    def left_used(self, used: float, seconds: float) -> float:
        """The used tokens of a bucket that had `used` of them `seconds` ago."""
        return max(0.0, used - self.per_s * seconds)

    def wait_s(self, used: float, tokens: float) -> float:
        """Seconds until `tokens` are free where `used` are taken; 0 where they are free now."""
        return max(0.0, (used + tokens - self.burst) / self.per_s)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a listener's slots, above 0 and at most 1, that the calls of `owner` may take at once."""

    owner: str
    part: float

    def slots(self, of: int) -> int:
        """The number of slots out of `of`; at least 1, so that no caller is locked out."""
        return max(1, int(self.part * of))


WHOLE = Share("", 1.0)
"""The share of callers without a bound."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The bounds of one principal; None where there is no such bound."""

    calls: Rate | None = None
    """Calls by the time of their headers."""
    bytes: Rate | None = None
    """Bytes of request messages."""
    concurrent: int | None = None
    """Calls that may be open at once, from their headers to their end, over all workers and listeners."""
    share: float | None = None
    """Part of a listener's slots that its calls may take at once."""

    @property
    def counted(self) -> bool:
        """True if a bound needs a count that workers share."""
        return any(bound is not None for bound in (self.calls, self.bytes, self.concurrent))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The bounds that there are."""
        bounds = {CALLS: self.calls, BYTES: self.bytes, CONCURRENT: self.concurrent, SHARE: self.share}
        return tuple(kind for kind, bound in bounds.items() if bound is not None)


NO_QUOTA = Quota()
"""No bound."""
