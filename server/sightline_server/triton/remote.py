"""A remote engine: a Triton that this server does not run."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from sightline_server.domain.models import ROLES, AnyRole
from sightline_server.triton.handshake import explain
from sightline_server.triton.hosts import ProviderListener
from sightline_server.triton.link import Link


class RemoteHost:
    """A Triton that this server does not run."""

    metrics_url = ""
    mends = False

    def __init__(
        self,
        link: Link,
        on_provider: ProviderListener,
        digests: Mapping[str, str] = MappingProxyType({}),
        roles: tuple[AnyRole, ...] = ROLES,
    ) -> None:
        """`digests` are the SHA-256 of the models' files where the parent process has sent them."""
        self._link = link
        self.address = str(link.address)
        self.tls = link.tls
        self.name = f"the Triton at {self.address}"
        self._on_provider = on_provider
        self._digests = digests
        self._roles = roles

    async def begin(self) -> None:
        """Starts nothing; raises `SightlineError` of kind CONFIGURATION where the connection must not be made."""
        await asyncio.to_thread(self._link.check)

    def explain(self, detail: str) -> str:
        """The meaning of gRPC's text about a failed connection, with what to set."""
        return explain(detail, self._link)

    def gone(self) -> bool:
        """False: only its answers show it."""
        return False

    def tend(self) -> None:
        """Does nothing: a remote engine has no helper processes here."""

    def sick_models(self) -> list[str]:
        """None: only their answers show it."""
        return []

    def kill_models(self, models: set[str]) -> None:
        """Does nothing: its processes are not this server's."""

    def settled(self) -> None:
        """Reports every model as remote; nothing is known of its processes."""
        for model in self._roles:
            self._on_provider(model, "remote", "")

    def digest(self, model: str, version: str) -> str:
        """The digest that the parent process sent, because the files are not available here.

        Elsewhere a `sha256` parameter in config.pbtxt names the model.
        """
        return self._digests.get(model, "")

    def log_tail(self) -> list[str]:
        """Empty: its log is on another machine."""
        return []

    async def end(self, grace_s: float) -> None:
        """Nothing to end."""

    async def close(self) -> None:
        """Nothing to end."""
