"""The secret keys that turn a pseudonym into the name of its bucket: one that is made each hour, and the one before.

    pseudonym -> HMAC-SHA256(key of this hour, pseudonym) -> bucket
Rule: only the process that owns the memory makes keys, and its workers read them there. A key is in memory only, so
nobody can find out later which buckets were those of a pseudonym. The key before is kept until its buckets are empty.
"""

import asyncio
import hmac
import secrets
from typing import NamedTuple

from sightline_server.access.quotas.memory import Memory

KEY_BYTES = 32
KEY_LIFE_S = 3600.0
"""Seconds in which one key is used."""
RETRY_S = 1.0
NUMBER = slice(0, 8)
"""The number of the latest change, so that a reader need not lock while nothing has changed."""
CURRENT = slice(8, 8 + KEY_BYTES)
PREVIOUS = slice(CURRENT.stop, CURRENT.stop + KEY_BYTES)
KEYS_BYTES = PREVIOUS.stop
NO_KEY = bytes(KEY_BYTES)


class Names(NamedTuple):
    """The names of a pseudonym's buckets: by the key of this hour, and by the one before, or empty without one."""

    current: bytes
    previous: bytes


class PseudonymKeys:
    """The two keys, in the `KEYS_BYTES` bytes of `memory` from byte `start` on."""

    def __init__(self, memory: Memory, start: int) -> None:
        self._memory = memory
        self._start = start
        self._view = memory.view[start : start + KEYS_BYTES]
        self._number = b""
        self._read = (NO_KEY, NO_KEY)

    def names(self, pseudonym: str) -> Names:
        """The names of the buckets of `pseudonym`."""
        current, previous = self._keys()
        text = pseudonym.encode()
        return Names(named(current, text), b"" if previous == NO_KEY else named(previous, text))

    def renew(self) -> bool:
        """Makes a key; the one before replaces its own predecessor. Returns False where that was not possible now."""
        return self._write(secrets.token_bytes(KEY_BYTES), bytes(self._view[CURRENT]))

    def forget_previous(self) -> bool:
        """Overwrites the key before. Returns False where that was not possible now."""
        return self._write(bytes(self._view[CURRENT]), NO_KEY)

    async def keep_renewing(self, previous_s: float, life_s: float = KEY_LIFE_S) -> None:
        """Makes a key each `life_s` seconds and forgets the one before after `previous_s`, until it is cancelled."""
        while True:
            await asyncio.sleep(previous_s)
            while not self.forget_previous():  # noqa: ASYNC110  # only a frozen worker holds the lock
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(life_s - previous_s)
            while not self.renew():  # noqa: ASYNC110
                await asyncio.sleep(RETRY_S)

    def _keys(self) -> tuple[bytes, bytes]:
        number = bytes(self._view[NUMBER])
        # Where the lock cannot be had, the keys that were read last are used once more.
        if number != self._number and self._memory.lock(self._start):
            try:
                self._number = bytes(self._view[NUMBER])
                self._read = bytes(self._view[CURRENT]), bytes(self._view[PREVIOUS])
            finally:
                self._memory.unlock(self._start)
        return self._read

    def _write(self, current: bytes, previous: bytes) -> bool:
        if not self._memory.lock(self._start):
            return False
        try:
            self._view[CURRENT], self._view[PREVIOUS] = current, previous
            number = int.from_bytes(self._view[NUMBER], "little") + 1
            self._view[NUMBER] = number.to_bytes(NUMBER.stop, "little")
        finally:
            self._memory.unlock(self._start)
        return True


def named(key: bytes, pseudonym: bytes) -> bytes:
    """The name of a bucket, 32 bytes."""
    return hmac.digest(key, pseudonym, "sha256")
