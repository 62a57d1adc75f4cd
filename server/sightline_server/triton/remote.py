"""An engine elsewhere: a Triton that somebody else runs."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from sightline_server.domain.models import ROLES, AnyRole
from sightline_server.triton.handshake import explain
from sightline_server.triton.hosts import ProviderListener
from sightline_server.triton.link import Link


class RemoteHost:
    """A Triton that somebody else runs."""

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
        """Only its answers show it."""
        return False

    def tend(self) -> None:
        """There is nothing of ours next to it."""

    def sick_models(self) -> list[str]:
        """Only their answers show it."""
        return []

    def kill_models(self, models: set[str]) -> None:
        """They are not ours."""

    def settled(self) -> None:
        """Nothing is known of its processes."""
        for model in self._roles:
            self._on_provider(model, "remote")

    def digest(self, model: str, version: str) -> str:
        """The digest that the parent process sent; the files are not at hand.

        Elsewhere a `sha256` parameter in config.pbtxt names the model.
        """
        return self._digests.get(model, "")

    def log_tail(self) -> list[str]:
        """Its log is elsewhere."""
        return []

    async def end(self, grace_s: float) -> None:
        """Nothing to end."""

    async def close(self) -> None:
        """Nothing to end."""
