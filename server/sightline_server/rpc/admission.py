"""Who gets in: the state of the server and the number of calls that it works on.

Rule: a refusal is immediate and comes before the first event; whoever is let in is counted until it leaves.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError


class ServerState(Enum):
    """What the server as a whole does."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Admission:
    """The door. At most `max_calls` calls are inside; `engine_ready` says whether the engine answers."""

    def __init__(self, *, max_calls: int, engine_ready: Callable[[], bool]) -> None:
        self._max_calls = max_calls
        self._engine_ready = engine_ready
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.state = ServerState.STARTING

    @property
    def inside(self) -> int:
        """Calls inside."""
        return self._inside

    @property
    def ready(self) -> bool:
        """Whether the engine answers."""
        return self._engine_ready()

    def check(self) -> None:
        """Raises `SightlineError` when a call must be refused now."""
        if self.state is ServerState.STARTING:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the server is starting", retry_after_s=2.0)
        if self.state is ServerState.STOPPING:
            raise SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)
        if not self.ready:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine is not ready", retry_after_s=2.0)
        if self._inside >= self._max_calls:
            raise SightlineError(
                ErrorKind.OVERLOADED,
                "too many calls at once",
                retry_after_s=1.0,
                metadata={"limit": "max_concurrent_calls", "value": str(self._max_calls)},
            )

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Counts a call for the length of the block. Raises `SightlineError` when it is refused."""
        self.check()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def drain(self) -> None:
        """Lets nobody in any more and returns when everybody has left."""
        self.state = ServerState.STOPPING
        await self._empty.wait()
