"""One image host: how many downloads it gets at once, when it is asked again, and when it is not asked any more.

Rule: a host that asks for time gets it, for all its images at once and from nobody else's share. Every wait is bounded:
between two images a host may pause a build for `patience_s` in all, and one that only fails is asked rarely.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sightline_server.ports import Clock

Sleep = Callable[[float], Awaitable[None]]
"""Waits for some seconds."""

NOTICE_S = 60.0
"""Seconds between two notices of one host, so that hours of short pauses do not fill a log."""

GROWTH = 0.05
"""Downloads at once that a host which asked for time regains with each image."""


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """The number and the pauses of repeated downloads.

    `faults` attempts for broken connections and answers 5xx, `refusals` attempts for 429 and for 503 with Retry-After.
    Without a Retry-After the waits are `first_wait_s`, then twice that, up to `longest_wait_s`. Between two images a
    host gets at most `pauses` pauses of `patience_s` seconds in all. After `hopeless` images in a row that failed, it
    is asked for one image in `hopeless` only, until one arrives.
    """

    faults: int = 3
    refusals: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 8.0
    pauses: int = 10
    patience_s: float = 180.0
    hopeless: int = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """The time that downloads live in: a monotonic `clock`, a `sleep`, and the `chance` that spreads them (jitter)."""

    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    chance: Callable[[], float] = random.random


class Host:
    """The state of one host. Belongs to one event loop."""

    def __init__(self, parallel: int, limits: RetryLimits, waiting: Waiting) -> None:
        self._parallel = parallel
        self._limits = limits
        self._waiting = waiting
        self._allowed = float(parallel)
        self._busy = 0
        self._free = asyncio.Condition()
        self._resumes_at = 0.0
        self._paused_s = 0.0
        self._pauses = 0
        self._failures = 0
        self._skipped = 0
        self._next_notice = -math.inf
        self.users = 0
        """Downloads that wait for the host or run."""

    @property
    def forgettable(self) -> bool:
        """True if a new `Host` would behave alike."""
        return not (self.users or self._failures or self._paused_s) and self._allowed == self._parallel

    @property
    def hopeless(self) -> bool:
        """True if the host failed so often in a row that its images are asked for once, and rarely."""
        return self._failures >= self._limits.hopeless

    def skips(self) -> bool:
        """Returns whether the next image is not asked for."""
        if not self.hopeless:
            return False
        self._skipped += 1
        return self._skipped % self._limits.hopeless != 0

    @property
    def pause_s(self) -> float:
        """Seconds until the host may be asked again."""
        return max(0.0, self._resumes_at - self._waiting.clock())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Holds one of the host's downloads, once its pause is over."""
        await self._enter()
        try:
            yield
        finally:
            await self._leave()

    def pause(self, seconds: float) -> bool:
        """Pauses all downloads of the host for `seconds` and a little more; False when that exceeds its patience."""
        now = self._waiting.clock()
        wait = seconds + self._waiting.chance() * max(0.25, 0.1 * seconds)
        added = now + wait - max(self._resumes_at, now)
        running = self._resumes_at > now
        if self._paused_s + added > self._limits.patience_s or self._pauses + (not running) > self._limits.pauses:
            return False
        if not running:
            self._pauses += 1
            self._allowed = max(1.0, self._allowed / 2)
        if added > 0:
            self._resumes_at = now + wait
            self._paused_s += added
        return True

    def notice_due(self) -> bool:
        """Returns whether a pause that just began is to be reported."""
        now = self._waiting.clock()
        if now < self._next_notice:
            return False
        self._next_notice = now + NOTICE_S
        return True

    def backoff_s(self, attempt: int) -> float:
        """The wait before attempt number `attempt` + 1 where the host names none."""
        wait = min(self._limits.longest_wait_s, self._limits.first_wait_s * 2.0 ** (attempt - 1))
        return wait * (0.75 + 0.5 * self._waiting.chance())

    async def sleep(self, seconds: float) -> None:
        """Waits for `seconds`."""
        await self._waiting.sleep(seconds)

    def succeeded(self) -> None:
        """Notes an image: the host has its patience again and slowly its share of downloads."""
        self._failures = 0
        self._paused_s = 0.0
        self._pauses = 0
        self._allowed = min(float(self._parallel), self._allowed + GROWTH)

    def failed(self) -> None:
        """Notes an image that could not be had although it was tried again."""
        self._failures += 1

    async def _enter(self) -> None:
        while True:
            while pause := self.pause_s:
                await self._waiting.sleep(pause)
            async with self._free:
                await self._free.wait_for(lambda: self._busy < int(self._allowed))
                if not self.pause_s:
                    self._busy += 1
                    return

    async def _leave(self) -> None:
        self._busy -= 1
        async with self._free:
            self._free.notify_all()
