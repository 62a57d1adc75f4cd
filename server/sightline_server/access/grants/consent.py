"""The consent that searches of a catalog need, and the checks of a call's grant in their order.

    text -> `read` -> catalog -> `settled` -> ...admission... -> photo, the person's quota, single use -> `use`
Rule: where a check cannot be made, the call is refused.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from sightline_server.access.grants import refusals
from sightline_server.access.grants.claims import Grant
from sightline_server.access.quotas.photos import PhotoQuota

SHORT = 256 * 1024
"""Up to this many bytes are hashed on the event loop, in about 0.2 ms."""
LENGTH_BYTES = 8
Sent = bytes | tuple[bytes, ...]
"""The content that a grant is for: a photo, or the parts of which a caller sends several, in their order."""


class ConsentMode(Enum):
    """The consent that a search of a catalog needs."""

    OFF = "off"
    """No grants are taken."""
    OPTIONAL = "optional"
    """A grant that is sent must be valid."""
    REQUIRED = "required"
    """Every search needs a valid grant."""


@dataclass(frozen=True, slots=True)
class Demands:
    """The consent that each catalog needs: that of `by_catalog`, else `usual`."""

    usual: ConsentMode = ConsentMode.OFF
    by_catalog: Mapping[str, ConsentMode] = field(default_factory=dict)

    def of(self, catalog: str) -> ConsentMode:
        """The consent that a search of `catalog` needs."""
        return self.by_catalog.get(catalog, self.usual)


class GrantReader(Protocol):
    """Verifies grants; `verifying.GrantKeys` is one."""

    def grant(self, text: str, now: float) -> Grant:
        """The grant in `text`, which is valid at the Unix time `now`. Raises `GrantRefusedError`."""


class UsedGrants(Protocol):
    """Notes which grants were used, for as long as they could be valid."""

    async def use(self, key: bytes) -> bool:
        """Notes the use of the grant that `key`, 32 bytes, stands for; returns whether it is the first use.

        Raises `SightlineError` where that cannot be found out.
        """


class NoGrants:
    """The store of a server that takes no grants."""

    async def use(self, key: bytes) -> bool:
        """See `UsedGrants`. Raises `SightlineError`."""
        raise refusals.store_unavailable()


class Consent:
    """The checks of one process. `keys` gives the keys in use; it is None where the server takes no grants."""

    def __init__(
        self,
        demands: Demands,
        keys: Callable[[], GrantReader] | None,
        used: UsedGrants,
        *,
        leeway_s: int = 0,
        photos: PhotoQuota | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`leeway_s` are the seconds by which clocks may differ; `photos` counts the photos of each pseudonym."""
        self._demands = demands
        self._keys = keys
        self._used = used
        self._leeway_s = leeway_s
        self._photos = photos
        self._now = now

    def mode_of(self, catalog: str) -> ConsentMode:
        """The consent that a search of `catalog` needs."""
        return self._demands.of(catalog)

    def read(self, text: str) -> Grant | None:
        """The grant in `text`; None for an empty text, and where the server takes no grants.

        Raises `GrantRefusedError`.
        """
        if not text or self._keys is None:
            return None
        return self._keys().grant(text, self._now())

    def settled(self, catalog: str, text: str, grant: Grant | None) -> Grant | None:
        """`grant`, which `text` holds, where it counts for a search of `catalog`; None where none is needed.

        Raises `SightlineError`.
        """
        mode = self.mode_of(catalog)
        if mode is ConsentMode.OFF:
            if text:
                raise refusals.not_taken()
            return None
        if grant is None:
            if text or mode is ConsentMode.REQUIRED:
                raise refusals.invalid("the grant was not read") if text else refusals.missing()
            return None
        if grant.catalog not in ("", catalog):
            raise refusals.other_catalog()
        return grant

    async def use(self, grant: Grant, sent: Sent, principal: str) -> None:
        """Uses `grant` up for a search of `sent` by `principal`. Raises `SightlineError`, and then it is unused.

        After a refusal because of the store, a grant may have been used up.
        """
        digest = await sha256(sent)
        if not hmac.compare_digest(digest, grant.photo_hash):
            raise refusals.other_photo()
        # Once more: the photo may have taken its time, and a store forgets what has expired.
        if self._now() >= grant.expires + self._leeway_s:
            raise refusals.expired()
        if grant.rate and self._photos is not None:
            self._photos.take(grant.rate, principal)
        if not await self._used.use(hashlib.sha256(grant.id.encode()).digest()):
            raise refusals.replayed()


def no_consent() -> Consent:
    """The checks of a server that takes no grants."""
    return Consent(Demands(), None, NoGrants())


async def sha256(sent: Sent) -> bytes:
    """The claim `pht` of `sent` as bytes, made in a thread where it takes long."""
    size = len(sent) if isinstance(sent, bytes) else sum(map(len, sent))
    if size <= SHORT:
        return content_hash(sent)
    return await asyncio.to_thread(lambda: content_hash(sent))


def content_hash(sent: Sent) -> bytes:
    """SHA-256 of a photo's bytes, or of the bytes of all parts, each after its length in 8 bytes, big-endian.

    The lengths keep two lists of parts apart whose bytes are the same one after the other.
    """
    if isinstance(sent, bytes):
        return hashlib.sha256(sent).digest()
    digest = hashlib.sha256()
    for part in sent:
        digest.update(len(part).to_bytes(LENGTH_BYTES, "big"))
        digest.update(part)
    return digest.digest()
