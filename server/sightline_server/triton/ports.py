"""Protocols of what modules of this package need of each other: the regions of a client, the engine of a watch.

Rule: Protocols only, each as small as its user; tests implement them with fakes.
"""

from typing import Protocol


class RegionRegistry(Protocol):
    """The shared-memory regions that a Triton has mapped. Its methods raise `EngineError`."""

    async def register(self, region: str, size: int, timeout_s: float) -> None:
        """Lets Triton map the region of `size` bytes in `/dev/shm`."""

    async def unregister(self, region: str, timeout_s: float) -> None:
        """Lets Triton unmap the region."""

    async def registered(self, timeout_s: float) -> list[str]:
        """The names of all regions that Triton has mapped."""


class ReadinessProbe(Protocol):
    """A client that asks whether a model is ready."""

    async def model_ready(self, model: str, timeout_s: float) -> bool:
        """Returns whether `model` is ready. Raises `EngineError`, or `TimeoutError` without an answer in time."""


class WatchedConnection(Protocol):
    """The connection to an engine, as its watch uses it."""

    @property
    def client(self) -> ReadinessProbe:
        """The client that asks whether models are ready."""

    async def tiny_infer(self, model: str, timeout_s: float) -> None:
        """Runs `model` on one small item. Raises `EngineError`, or `TimeoutError` without an answer in time."""

    def tidy(self) -> None:
        """Begins to release what idle calls no longer need."""


class WatchedHost(Protocol):
    """The host of an engine, as its watch uses it; a part of `Host`."""

    @property
    def mends(self) -> bool:
        """True where this server may restart its models and processes."""

    def gone(self) -> bool:
        """Returns whether the engine's process has ended."""

    def tend(self) -> None:
        """Restarts the helper processes that have ended."""

    def sick_models(self) -> list[str]:
        """The models with a process that is dead or stopped. Raises `OSError` without free descriptors."""

    def log_tail(self) -> list[str]:
        """The latest lines of the engine's log."""


class WatchedEngine(Protocol):
    """An engine that its watch can bring down and up again; `Lifecycle` is one."""

    @property
    def host(self) -> WatchedHost:
        """The host that the engine runs on."""

    @property
    def connection(self) -> WatchedConnection | None:
        """The connection to the running engine; None while there is none."""

    async def raise_up(self) -> None:
        """Starts the engine and returns when its models answer. Raises `SightlineError`."""

    async def take_down(self, grace_s: float) -> None:
        """Ends the connection and the engine's processes, by force after `grace_s` seconds."""

    async def reload(self, models: set[str]) -> None:
        """Unloads and loads `models`. Raises `EngineError` or `TimeoutError`."""
