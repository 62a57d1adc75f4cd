"""Background work on a device, such as embedding images of products: one piece at a time, while no call is ahead of it.

    a call is inside -> pieces wait ... -> no call is inside -> one piece, then the next
Rule: a piece never waits for ever. Next to calls without a pause it still begins after `rest` times the length of the
piece before it, and after `longest_s` at most. So background work has a small share of a busy device, whatever the
device is. A piece that has begun is not interrupted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from sightline_server.ports import Clock

REST = 16.0
"""The longest wait of a piece, in lengths of the piece before it: background work has a seventeenth of a busy device.

Longer than a search: one with several objects takes 6 to 12 times as long as one image of a product, and a shorter
wait would end within it.
"""
LONGEST_S = 1.0
FIRST_S = 0.05
"""Seconds that the first piece is expected to take."""


class Background:
    """The calls that are ahead of background work, and the turns of that work. For one event loop.

    `on_wait` is called with the seconds that a piece has waited, when it begins.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rest: float = REST,
        longest_s: float = LONGEST_S,
        on_wait: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._clock = clock
        self._on_wait = on_wait
        self._rest = rest
        self._longest_s = longest_s
        self._piece_s = FIRST_S
        self._ahead = 0
        self._clear = asyncio.Event()
        self._clear.set()
        self._turns = asyncio.Lock()

    @property
    def ahead(self) -> int:
        """Calls inside that background work waits for."""
        return self._ahead

    @property
    def patience_s(self) -> float:
        """Seconds that a piece waits at most, from now on, for a moment without calls."""
        return min(self._longest_s, self._rest * self._piece_s)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Counts a call that goes first, for the length of the block."""
        self._ahead += 1
        self._clear.clear()
        try:
            yield
        finally:
            self._ahead -= 1
            if not self._ahead:
                self._clear.set()

    async def pause(self) -> None:
        """Waits until no call is inside, for `patience_s` at most."""
        await self.clear(self.patience_s)

    async def clear(self, longest_s: float) -> None:
        """Waits until no call is inside, for `longest_s` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                # A call may have come between the event and this task.
                while self._ahead:
                    await self._clear.wait()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One piece of work for the length of the block, in the order of the calls of `turn`.

        It begins when the piece before it has ended and after a `pause`.
        """
        asked = self._clock()
        async with self._turns:
            await self.pause()
            began = self._clock()
            self._on_wait(began - asked)
            yield
            # A piece that failed or was cancelled does not show how long pieces take.
            self._piece_s = self._clock() - began
