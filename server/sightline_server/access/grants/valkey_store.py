"""Used grants in Valkey or Redis: a grant works once for all replicas that use the same server.

    SET prefix + hash 1 NX PX kept   ->   OK: the first use   nil: used before   anything else, or nothing: refused
Rule: the server decides who is first, in one command. Whatever is not one of its two answers refuses the grant, within
the timeout. The life of a key is a duration, not an instant: an instant in the past, by a clock that is ahead, would
let every grant in.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from sightline_server.access.grants import refusals

log = logging.getLogger(__name__)

TIMEOUT, CONNECTION, REFUSED = "timeout", "connection", "refused"
REASONS = (TIMEOUT, CONNECTION, REFUSED)
"""Failures of the store: no answer in time, no connection, an answer that is an error."""


class ValkeyError(Exception):
    """The command has no answer: `reason` is one of `REASONS`, `cause` the name of the error, which holds no key."""

    def __init__(self, reason: str, cause: str) -> None:
        super().__init__(cause)
        self.reason = reason


class Commands(Protocol):
    """A server to which commands are sent."""

    async def command(self, *parts: str) -> object:
        """The answer: bytes, a number, or None. Raises `ValkeyError`. What is cancelled may have been done."""


class StoreObserver(Protocol):
    """Receives what becomes of the commands."""

    def grant_store_answered(self, seconds: float) -> None:
        """The store answered a command after `seconds`."""

    def grant_store_failed(self, reason: str) -> None:
        """The store failed for one of `REASONS`."""


class ValkeyStore:
    """Satisfies `UsedGrants`: each grant is kept for `kept_s` s, and a use is noted within `timeout_s` or refused.

    `clock` is monotonic.
    """

    def __init__(
        self,
        commands: Commands,
        *,
        kept_s: int,
        timeout_s: float,
        key_prefix: str,
        observer: StoreObserver,
        clock: Callable[[], float],
    ) -> None:
        self._commands = commands
        self._life = ("NX", "PX", str(kept_s * 1000))
        self._timeout_s = timeout_s
        self._key_prefix = key_prefix
        self._observer = observer
        self._clock = clock
        self._failing = False

    async def use(self, key: bytes) -> bool:
        """See `UsedGrants`. Raises `SightlineError` of kind GRANT_STORE_UNAVAILABLE."""
        started = self._clock()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._commands.command("SET", self._key_prefix + key.hex(), "1", *self._life)
            if answer not in (b"OK", None):
                raise ValkeyError(REFUSED, "an answer that is neither OK nor nil")
        except TimeoutError:
            self._failed(ValkeyError(TIMEOUT, f"no answer within {self._timeout_s * 1000:.0f} ms"))
            raise refusals.store_unavailable() from None
        except ValkeyError as error:
            self._failed(error)
            raise refusals.store_unavailable() from None
        self._answered(self._clock() - started)
        return answer is not None

    def _answered(self, seconds: float) -> None:
        self._observer.grant_store_answered(seconds)
        if self._failing:
            self._failing = False
            log.info("consent: the Valkey server notes used grants again")

    def _failed(self, error: ValkeyError) -> None:
        self._observer.grant_store_failed(error.reason)
        # One line for an outage, not one for each call in it; the metric counts them.
        if not self._failing:
            self._failing = True
            log.error("consent: the Valkey server cannot note used grants, so they are refused: %s", error)
