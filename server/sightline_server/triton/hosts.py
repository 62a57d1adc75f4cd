"""The location of an engine, as the rest of the engine sees it: processes of this server (embedded/host.py), or
elsewhere (remote.py).

Rule: a host starts, inspects and ends what it runs; it never talks to Triton and decides nothing.
"""

from collections.abc import Callable
from typing import Protocol

from sightline_server.triton.link import TritonTls

ProviderListener = Callable[[str, str, str], None]
"""(model, ONNX Runtime's provider, precision); the precision is empty where it is not known"""


class Host(Protocol):
    """The location of one engine."""

    name: str
    """The name of the engine in messages."""

    mends: bool
    """True if this server may restart its models and processes."""

    @property
    def address(self) -> str:
        """gRPC address of Triton, once begun: HOST:PORT or unix:PATH."""

    @property
    def tls(self) -> TritonTls | None:
        """TLS of the connections to Triton; None for connections in the clear."""

    @property
    def metrics_url(self) -> str:
        """The URL of Triton's metrics; empty where that is not known."""

    async def begin(self) -> None:
        """Starts the processes that are needed; returns before Triton answers."""

    def explain(self, detail: str) -> str:
        """The meaning of gRPC's text about a failed connection, for a log or an error."""

    def gone(self) -> bool:
        """Returns whether the engine's process has ended."""

    def tend(self) -> None:
        """Restores the helper processes and folders of the engine."""

    def sick_models(self) -> list[str]:
        """Models with a process that is dead or stopped."""

    def kill_models(self, models: set[str]) -> None:
        """Kills the processes of models that are to be loaded again."""

    def settled(self) -> None:
        """All models answer: records their processes."""

    def digest(self, model: str, version: str) -> str:
        """SHA-256 of a model's file, empty where it is not at hand. Blocks."""

    def log_tail(self) -> list[str]:
        """The latest lines of the engine's log."""

    async def end(self, grace_s: float) -> None:
        """Ends what `begin` started, by force after `grace_s`."""

    async def close(self) -> None:
        """Ends everything that `end` leaves running."""
