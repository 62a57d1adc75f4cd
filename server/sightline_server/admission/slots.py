"""Admission of calls: by the state of the server, the number of accepted calls, and the time that is left.

Rule: a refusal is immediate, has a reason, and comes before the first event; an accepted call is counted until it
ends. Calls of the batch lane are accepted only while half of the slots are free.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from sightline_server.access.quotas.quota import WHOLE, Share
from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.refusal import overloaded
from sightline_server.admission.shares import Shares
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock

BATCH_SHARE = 0.5


class ServerState(Enum):
    """The state of the server as a whole."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Visit:
    """One call inside. `answered` is to be called with its first result."""

    def __init__(self, learn: Callable[[float], None], clock: Clock) -> None:
        self._learn = learn
        self._clock = clock
        self._entered = clock()
        self._answered = False

    @property
    def seconds(self) -> float:
        """Seconds inside."""
        return self._clock() - self._entered

    def answered(self) -> None:
        """Reports to the limit how long the first result took; later results, and the reader's pace, do not count."""
        if not self._answered:
            self._answered = True
            self._learn(self.seconds)

    def left(self, patience_s: float) -> None:
        """Notes the end of the call. Without a result after `patience_s` it counts as one that waited too long."""
        if not self._answered and self.seconds >= patience_s:
            self.answered()


class Admission:
    """Admission. `limit` gives the number of calls that may be inside, `engine_ready` whether the engine answers.

    `on_limit` is called with the limit whenever it was adapted, `on_inside` with the number of calls inside.
    """

    def __init__(
        self,
        *,
        limit: AdaptiveLimit,
        engine_ready: Callable[[], bool],
        clock: Clock,
        on_limit: Callable[[int], object] = lambda calls: None,
        on_inside: Callable[[int], object] = lambda calls: None,
    ) -> None:
        self._limit = limit
        self._engine_ready = engine_ready
        self._clock = clock
        self._on_limit = on_limit
        self._on_inside = on_inside
        on_limit(limit.calls)
        self._inside = 0
        self._shares = Shares()
        self._empty = asyncio.Event()
        self._empty.set()
        self.state = ServerState.STARTING

    @property
    def inside(self) -> int:
        """Calls inside."""
        return self._inside

    @property
    def slots(self) -> int:
        """Calls that may be inside now."""
        return self._limit.calls

    @property
    def ready(self) -> bool:
        """True if the engine answers."""
        return self._engine_ready()

    def check(self, *, deadline: float, lane: Lane, share: Share = WHOLE) -> None:
        """Raises `SightlineError` when a call with this deadline, lane and share must be refused now."""
        if self.state is ServerState.STARTING:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the server is starting", retry_after_s=2.0)
        if self.state is ServerState.STOPPING:
            raise SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)
        if not self.ready:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine is not ready", retry_after_s=2.0)
        self._shares.check(share, self._limit.calls)
        slots = self._limit.calls if lane is Lane.INTERACTIVE else int(self._limit.calls * BATCH_SHARE)
        if self._inside >= max(1, slots):
            raise overloaded("concurrency", "too many calls at once")
        if self._inside and self._limit.expected_s(self._inside) > deadline - self._clock():
            raise overloaded("deadline", "no result is expected before the deadline")

    @contextmanager
    def enter(self, *, deadline: float, lane: Lane, share: Share = WHOLE) -> Iterator[Visit]:
        """Counts a call for the length of the block. Raises `SightlineError` when it is refused."""
        self.check(deadline=deadline, lane=lane, share=share)
        self._inside += 1
        self._shares.entered(share)
        self._on_inside(self._inside)
        self._empty.clear()
        visit = Visit(self._learn, self._clock)
        try:
            yield visit
        finally:
            visit.left(self._limit.target_s)
            self._shares.left(share)
            self._inside -= 1
            self._on_inside(self._inside)
            if not self._inside:
                self._empty.set()

    def _learn(self, seconds: float) -> None:
        self._limit.sample(seconds, self._inside)
        self._on_limit(self._limit.calls)

    async def drain(self) -> None:
        """Refuses calls from now on and returns when no call is inside."""
        self.state = ServerState.STOPPING
        await self._empty.wait()
