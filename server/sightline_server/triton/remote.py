"""An engine elsewhere: a Triton that somebody else runs."""

from collections.abc import Mapping

from sightline_server.domain.address import parse_target
from sightline_server.triton.config import MODELS
from sightline_server.triton.hosts import ProviderListener


class RemoteHost:
    """A Triton that somebody else runs."""

    metrics_url = ""
    mends = False

    def __init__(self, url: str, on_provider: ProviderListener, digests: Mapping[str, str] | None = None) -> None:
        """`url` is HOST:PORT or unix:PATH of its service; `digests` are its models', where they were told."""
        self.address = str(parse_target(url))
        self.name = f"the Triton at {self.address}"
        self._on_provider = on_provider
        self._digests = digests or {}

    async def begin(self) -> None:
        """Nothing to start."""

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
