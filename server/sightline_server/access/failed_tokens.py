"""A bound on the work for tokens that are not valid: to verify one blocks the event loop for up to 0.2 ms.

    token -> verified before? -> does its address have failures left? -> verified -> remembered, or a failure more
Rule: every token is verified each time, so nothing here makes one valid. A token that was valid the last time is
verified whatever its address has failed: callers behind one proxy have one address, and an attacker among them must
not lock the others out. What is left is a caller there with a new token, which is let in as soon as it is tried while
the address has a failure left, of which it gets `PER_S` each second.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol
from urllib.parse import unquote

from sightline_server.access.principal import UnidentifiedError
from sightline_server.access.quotas.buckets import Buckets, size_of
from sightline_server.access.quotas.memory import OwnMemory
from sightline_server.access.quotas.quota import MINUTE_S, Quota, Rate
from sightline_server.errors import ErrorKind, SightlineError

PER_S, AT_ONCE = 100, 100
"""Failed tokens of one address a second, and at once, in each process: at 0.2 ms each, 2 % of its event loop."""
ADDRESS_SETS = 64
"""Sets of 16 addresses that are counted at a time; those that failed longest ago go first."""
MOST_REMEMBERED = 10_000
"""Tokens that were valid and are remembered, by a hash of 16 bytes."""
RETRY_S = 0.25
NETWORK_BITS = 64
"""Bits of an IPv6 address that count: the rest is one customer's."""
LIMIT = "failed_tokens"
"""The name of the bound in metrics and in `ErrorInfo`."""


class Tokens(Protocol):
    """Verifies tokens; `tokens.TokenKeys` is one."""

    def subject(self, token: str, now: float) -> str:
        """The subject of a `token` that is valid at the Unix time `now`. Raises `UnidentifiedError`."""


class TokenBudget:
    """Verifies tokens while their address has failures left. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], *, per_s: int = PER_S, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self._rate = Quota(bytes=Rate(int(per_s * MINUTE_S), at_once))
        self._failures = Buckets(OwnMemory(size_of(ADDRESS_SETS, 0)), sets=ADDRESS_SETS)
        self._remembered: OrderedDict[bytes, None] = OrderedDict()

    def subject(self, tokens: Tokens, token: str, now: float, peer: str) -> str:
        """The subject of a `token` from `peer` that is valid at the Unix time `now`.

        Raises `UnidentifiedError`, and `SightlineError` of kind OVERLOADED for a token that was not verified.
        """
        digest, address = blake2b(token.encode(), digest_size=16).digest(), address_of(peer).encode()
        if digest not in self._remembered and self._failed(address, 0):
            raise too_many()
        try:
            subject = tokens.subject(token, now)
        except UnidentifiedError:
            self._remembered.pop(digest, None)
            self._failed(address, 1)
            raise
        self._remember(digest)
        return subject

    def _failed(self, address: bytes, more: int) -> bool:
        """Counts `more` failures of an address; returns whether it had more than it may before."""
        return bool(self._failures.charge(address, self._rate, more, self._clock()).refused_by)

    def _remember(self, digest: bytes) -> None:
        self._remembered[digest] = None
        self._remembered.move_to_end(digest)
        if len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)


def address_of(peer: str) -> str:
    """The address in gRPC's name of a connection, without its port: of IPv6 the network, of a Unix socket its path."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    host = unquote(rest).rpartition(":")[0].strip("[]")
    if kind == "ipv4":
        return host
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), NETWORK_BITS), strict=False))


def too_many() -> SightlineError:
    """The error of a token that was not verified, because too many of its address were not valid."""
    return SightlineError(
        ErrorKind.OVERLOADED,
        "too many tokens from this address were not valid, so this one was not verified: try again",
        retry_after_s=RETRY_S,
        metadata={"limit": LIMIT, "subject": "address"},
    )
