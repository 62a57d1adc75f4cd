"""The Valkey or Redis server of used grants, from the settings.

Rule: hashes and passwords leave this machine only encrypted, unless `valkey.insecure` says otherwise. A server that
does not answer keeps nobody from starting: it may come back, and grants are refused until then.
"""

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from sightline_server.access.grants.valkey_store import StoreObserver, ValkeyError, ValkeyStore
from sightline_server.app.background import keep_running
from sightline_server.app.clock import clock
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pem import check_authority, read
from sightline_server.settings import ValkeySettings

if TYPE_CHECKING:
    from sightline_server.access.grants.valkey_links import ValkeyLinks

log = logging.getLogger(__name__)

NO_EVICTION = "noeviction"
"""The policy under which a full server refuses what is new and forgets nothing."""


def open_valkey_store(
    stack: AsyncExitStack, settings: ValkeySettings, kept_s: int, observer: StoreObserver
) -> ValkeyStore:
    """The store, whose connections end with `stack`. Raises `SightlineError` of kind CONFIGURATION."""
    links = make_links(settings)
    stack.push_async_callback(links.close)
    keep_running(stack, first_connection(links), "valkey")
    return ValkeyStore(
        links,
        kept_s=kept_s,
        timeout_s=settings.timeout_ms / 1000,
        key_prefix=settings.key_prefix,
        observer=observer,
        clock=clock,
    )


async def first_connection(links: "ValkeyLinks") -> None:
    """Opens a connection before the first call needs it."""
    try:
        await links.open()
    except ValkeyError as error:
        log.warning("consent: the Valkey server does not answer; grants are refused until it does: %s", error)


async def described(settings: ValkeySettings) -> tuple[str, bool]:
    """The server's version as text, and whether it keeps what it noted when its memory is full.

    Raises `ValkeyError` where it does not answer, and `SightlineError` of kind CONFIGURATION.
    """
    links = make_links(settings)
    try:
        await links.command("PING")
        try:
            answer = await links.command("INFO")
        except ValkeyError:
            return "answers", True  # a user that may only SET
    finally:
        await links.close()
    lines = (line.partition(":") for line in (answer if isinstance(answer, bytes) else b"").decode().splitlines())
    facts = {name: value for name, _, value in lines}
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    return f"{name} {version} answers", facts.get("maxmemory_policy", NO_EVICTION) == NO_EVICTION


def make_links(settings: ValkeySettings) -> "ValkeyLinks":
    """The connections. Raises `SightlineError` of kind CONFIGURATION. Blocks on the disk."""
    try:
        from sightline_server.access.grants.valkey_links import links_to
    except ImportError as error:
        message = 'setting consent.store = "valkey" needs valkey: pip install "sightline[valkey]"'
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    check(settings)
    assert settings.target is not None, "the settings have a URL where the store is valkey"
    return links_to(settings.target, settings.password_file, settings.ca_file)


def check(settings: ValkeySettings) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where the connection must not or cannot be made."""
    target = settings.target
    if target is not None and not target.tls and not settings.insecure and not target.address.is_loopback:
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"valkey.url {target.address}: hashes of grants and the password would go to another machine without "
            "encryption. For TLS write the URL with rediss://. Where the network in between encrypts, set "
            "valkey.insecure = true. Names other than localhost count as another machine",
        )
    for path in filter(None, (settings.password_file, settings.ca_file)):
        read(path)
    if settings.ca_file is not None:
        check_authority(settings.ca_file, "valkey.ca_file")
