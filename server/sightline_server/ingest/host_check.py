"""Names of image hosts -> the addresses at which they may be requested.

Rule: a name is looked up once for a connection, every one of its addresses must be allowed, and the connection goes to
one of those addresses. So a name cannot change its address in between (DNS rebinding). A refused host and a host that
does not answer have the same error text, so that a feed's report does not map the network in which it is built.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from sightline_server.ingest.address_rules import IPAddress, is_allowed
from sightline_server.ingest.links import UnreadableImageError

log = logging.getLogger(__name__)

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a name, as texts. Raises `OSError` where it has none."""

NO_ANSWER = "no answer from the image host"
PUBLIC_ONLY = "only public addresses are asked; see --allow-private-images"

NUMBER_AT_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")
"""Hosts that browsers take for an IPv4 address or refuse (WHATWG URL, section 3.5)."""

PRIVATE_NAMES = ("localhost", "local", "internal", "home.arpa")
"""Domains that are reserved for private use. They are refused before a proxy, which may know them, is asked."""

METADATA_NAMES = frozenset({"metadata", "metadata.goog", "metadata.google.internal", "instance-data"})

MAX_REMEMBERED = 10_000


class UnreachableImageError(UnreadableImageError):
    """An image host that is refused or does not answer. Its text is the same for every cause."""


class HostCheck:
    """Decides which hosts are asked for images; with `allow_private`, those of private networks as well.

    `lookup` is for tests.
    """

    def __init__(self, *, allow_private: bool = False, lookup: Lookup | None = None) -> None:
        self._allow_private = allow_private
        self._lookup = lookup or system_lookup
        self._for_proxy: dict[str, bool] = {}

    def no_answer(self, host: str, reason: str) -> UnreachableImageError:
        """The error of a host that is not asked or does not answer. The `reason` goes to the debug log only."""
        log.debug("image host %s: %s", host, reason)
        return UnreachableImageError(NO_ANSWER if self._allow_private else f"{NO_ANSWER} ({PUBLIC_ONLY})")

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of `host`, in the system's order, at least one. Raises `UnreachableImageError`."""
        found = await self._found(host)
        if not found:
            raise self.no_answer(host, "the name has no address")
        self._require_allowed(host, found)
        return tuple(map(str, found))

    def check_other_machine(self, host: str, address: str, own: tuple[object, ...] | None) -> None:
        """Raises `UnreachableImageError` where a connection to `address` comes from that very address.

        Then a public address of this machine was asked, past the firewall in front of it. `own` is the connection's own
        socket address.
        """
        if own and not self._allow_private and ip_address(str(own[0])) == ip_address(address):
            raise self.no_answer(host, f"the address {address} is one of this machine")

    async def check_for_proxy(self, host: str, timeout_s: float) -> None:
        """Raises `UnreachableImageError` where a proxy must not be asked for `host`.

        A name that has no address here within `timeout_s` is the proxy's decision.
        """
        if not self._for_proxy.get(host, False):
            try:
                async with asyncio.timeout(timeout_s):
                    found = await self._found(host)
            except TimeoutError:
                found = []
            self._require_allowed(host, found)
            if len(self._for_proxy) < MAX_REMEMBERED:
                self._for_proxy[host] = True

    def _require_allowed(self, host: str, found: Sequence[IPAddress]) -> None:
        for address in found:
            if not is_allowed(address, allow_private=self._allow_private):
                raise self.no_answer(host, f"the address {address} is not allowed")

    async def _found(self, host: str) -> list[IPAddress]:
        """The addresses of a name or of an address in any spelling; none for a name that is not known here."""
        try:
            address = spelled_address(host)
        except (OSError, ValueError):
            raise self.no_answer(host, "not a valid address") from None
        if address is not None:
            return [address]
        if is_refused_name(host, allow_private=self._allow_private):
            raise self.no_answer(host, "the name is for private use")
        try:
            return [ip_address(text) for text in await self._lookup(host)]
        except (OSError, ValueError):
            return []


def spelled_address(host: str) -> IPAddress | None:
    """The address that `host` spells out (`127.1`, `0x7f000001` and `2130706433` are one), or None for a name.

    Raises `OSError` or `ValueError` for something in between, which other programs may read as an address.
    """
    text = host.strip("[]").rstrip(".")
    if ":" in text or "%" in text:
        return IPv6Address(text)
    return IPv4Address(socket.inet_aton(text)) if NUMBER_AT_END.fullmatch(text) else None


def is_refused_name(host: str, *, allow_private: bool) -> bool:
    """Returns whether `host` is not looked up at all."""
    name = host.rstrip(".").lower()
    private = not allow_private and any(name == domain or name.endswith(f".{domain}") for domain in PRIVATE_NAMES)
    return private or name in METADATA_NAMES


async def system_lookup(name: str) -> Sequence[str]:
    """The addresses of `name`, each once, by the system's resolver. Raises `OSError`."""
    # As bytes: the codec that Python applies to a text refuses names that are only odd.
    look = partial(socket.getaddrinfo, name.encode("ascii"), None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(None, look)
    return list(
        dict.fromkeys(str(address[0]) for family, *_, address in found if family in (socket.AF_INET, socket.AF_INET6))
    )
