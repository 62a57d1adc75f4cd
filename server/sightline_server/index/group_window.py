"""The time for which a group of writes grows: a moment for other callers, then until no search runs.

Rule: it ends at once when the group is full and at a stop.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from sightline_server.ports import Clock

WINDOW_S = 0.02
"""Longest time that a group may grow. With 5 ms each of 100 products a second had nearly always its own transaction:
a product cost the server 3.5 ms of CPU, and 2.8 with 20 ms. An acknowledgement comes 8 ms later for it."""
SEARCHES_FIRST_S = 0.15
"""Longest time that a group waits after that until no search runs, whose model needs the core. At 2 photos and 100
products a second, on a host on which a search takes 172 ms at rest, p99 of a search was 1.27 times that at rest, and
1.33 during merges and checkpoints, in place of 1.57 and 1.99; an acknowledgement took 70 ms at p50 in place of 35."""

SearchesFirst = Callable[[float], Coroutine[Any, Any, None]]
"""Waits until no search runs, for so many seconds at most."""


async def at_once(_seconds: float) -> None:
    """A `SearchesFirst` where nothing is searched by this process."""


class GroupWindow:
    """The window of one group after the other; `open` while one grows.

    `is_over` says whether the group is full, or the writer stops. `awake` is set when that may have changed, and for
    other reasons; it is cleared here.
    """

    def __init__(
        self, *, clock: Clock, searches_first: SearchesFirst, awake: asyncio.Event, is_over: Callable[[], bool]
    ) -> None:
        self.open = False
        self._clock = clock
        self._searches_first = searches_first
        self._awake = awake
        self._is_over = is_over

    async def wait(self) -> None:
        """Waits for the end of the window of one group."""
        self.open = True
        try:
            await self._let_others_come()
            if not self._is_over():
                await self._let_searches_go_first()
        finally:
            self.open = False

    async def _let_others_come(self) -> None:
        until = self._clock() + WINDOW_S
        while not self._is_over() and (left_s := until - self._clock()) > 0:
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), left_s)

    async def _let_searches_go_first(self) -> None:
        waiting = asyncio.create_task(self._searches_first(SEARCHES_FIRST_S))
        waiting.add_done_callback(lambda _: self._awake.set())
        try:
            while not self._is_over() and not waiting.done():
                self._awake.clear()
                await self._awake.wait()
        finally:
            waiting.cancel()
