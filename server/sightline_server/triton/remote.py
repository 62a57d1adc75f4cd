"""An engine elsewhere: a Triton that somebody else runs."""

import asyncio

from sightline_server.domain.address import parse_target
from sightline_server.triton.config import MODELS, EngineConfig
from sightline_server.triton.handshake import explain
from sightline_server.triton.hosts import ProviderListener
from sightline_server.triton.link import Link


class RemoteHost:
    """A Triton that somebody else runs."""

    metrics_url = ""
    mends = False

    def __init__(self, config: EngineConfig, on_provider: ProviderListener) -> None:
        """Uses the `triton_url` of `config`, its TLS and the models' digests where they were told."""
        assert config.triton_url is not None
        self._link = Link(parse_target(config.triton_url), config.tls, config.insecure)
        self.address = str(self._link.address)
        self.tls = config.tls
        self.name = f"the Triton at {self.address}"
        self._on_provider = on_provider
        self._digests = config.digests

    async def begin(self) -> None:
        """Starts nothing; raises `SightlineError` of kind CONFIGURATION where the connection must not be made."""
        await asyncio.to_thread(self._link.check)

    def explain(self, detail: str) -> str:
        """The meaning of gRPC's text about a failed connection, with what to set."""
        return explain(detail, self._link)

    def gone(self) -> bool:
        """Only its answers can tell."""
        return False

    def tend(self) -> None:
        """Nothing stands beside it."""

    def sick_models(self) -> list[str]:
        """Only their answers can tell."""
        return []

    def kill_models(self, models: set[str]) -> None:
        """They are not ours."""

    def settled(self) -> None:
        """Nothing is known of its processes."""
        for model in MODELS:
            self._on_provider(model, "remote")

    def digest(self, model: str, version: str) -> str:
        """What was told; its files are not at hand. A `sha256` parameter in config.pbtxt names the model instead."""
        return self._digests.get(model, "")

    def log_tail(self) -> list[str]:
        """Its log is elsewhere."""
        return []

    async def end(self, grace_s: float) -> None:
        """Nothing to end."""

    async def close(self) -> None:
        """Nothing to end."""
