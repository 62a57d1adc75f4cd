"""Return of the memory of ended requests to the system.

Rule: gRPC receives a message in thousands of small pieces, and glibc keeps what is freed between others: after 2 GB of
uploads 1.6 GB stayed. So, some time after much was held, `memory.give_back` runs once, in a thread and without the
interpreter's lock. Under an even load nothing is trimmed.
"""

import asyncio
from collections.abc import Callable

from sightline_server.memory import give_back

TRIM_ABOVE_BYTES = 128 * 1024 * 1024
"""Least bytes of requests at once whose memory is worth trimming."""
REST_S = 1.0
"""Longest time in seconds for gRPC to free the memory of calls that have ended."""


class Trimming:
    """Follows the bytes that requests hold, and trims after most of a large amount was freed."""

    def __init__(self, trim: Callable[[], object] = give_back, rest_s: float = REST_S) -> None:
        self._trim = trim
        self._rest_s = rest_s
        self._most = 0
        self._timer: asyncio.TimerHandle | None = None

    def used(self, used: int) -> None:
        """Requests hold `used` bytes now; to be called on the event loop."""
        self._most = max(self._most, used)
        if self._timer is None and self._most >= TRIM_ABOVE_BYTES and used < self._most // 2:
            self._timer = asyncio.get_running_loop().call_later(self._rest_s, self._begin)

    def close(self) -> None:
        """Stops trimming."""
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._most = 0
        asyncio.get_running_loop().run_in_executor(None, self._trim)
