"""Decides whether and when a refused call is repeated.

Rule: sans-IO. Only `UnavailableError` before the first event is tried again; a throttle stops retries while most calls
fail, so that clients do not hold down a server that is coming back (gRFC A6, "Throttling Retry Attempts").
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sightline_client import errors
from sightline_client.options import RetryOptions

LONGEST_WAIT_S = 300.0
"""No retry waits longer, whatever the server asks for; it matters for searches without a deadline."""


@dataclass(slots=True)
class RetryThrottle:
    """A token bucket: a failure takes one token, a success gives `token_ratio` back, half-full or less means stop."""

    max_tokens: float = 10.0
    token_ratio: float = 0.1
    tokens: float = 10.0

    def failed(self) -> None:
        """Notes a call that the server did not take."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def succeeded(self) -> None:
        """Notes a call that the server took."""
        self.tokens = min(self.max_tokens, self.tokens + self.token_ratio)

    @property
    def allows(self) -> bool:
        """Returns whether a retry is allowed now."""
        return self.tokens > self.max_tokens / 2


@dataclass(slots=True)
class Retrier:
    """The retries of one client; `jitter` returns 0..1."""

    options: RetryOptions
    throttle: RetryThrottle
    jitter: Callable[[], float] = random.random

    def delay_s(self, attempt: int, error: errors.SightlineError, remaining_s: float) -> float | None:
        """Seconds to wait before attempt number `attempt` + 1, or None when `error` is final.

        `remaining_s` is what the deadline leaves: a delay that would use it up makes the error final at once.
        """
        if not isinstance(error, errors.UnavailableError) or isinstance(error, errors.StreamBrokenError):
            return None
        self.throttle.failed()
        if attempt >= self.options.attempts or not self.throttle.allows:
            return None
        # Beyond 2**60 the float would overflow.
        backoff = min(float(self.options.max_delay_s), float(self.options.first_delay_s) * 2.0 ** min(attempt - 1, 60))
        delay = max(backoff * (0.5 + 0.5 * self.jitter()), error.retry_after_s or 0.0)
        return delay if delay < min(remaining_s, LONGEST_WAIT_S) else None
