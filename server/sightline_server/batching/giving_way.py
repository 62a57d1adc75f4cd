"""Threads that let calls go first, such as the merge of a catalog.

    thread, between two pieces -> a call is inside? -> waits until none is, for some time at most
Rule: a thread has a core that the model engine of a search needs, so it works while no search is inside.
"""

import asyncio
from concurrent.futures import CancelledError
from contextlib import suppress

from sightline_server.batching.background import Background

LATE_S = 1.0
"""Seconds that the event loop may take to run a wait of a thread."""


class GivingWay:
    """`index.live.patience.GiveWay` by the calls that `background` counts on `loop`; not for the thread of `loop`."""

    def __init__(self, background: Background, loop: asyncio.AbstractEventLoop) -> None:
        self._background = background
        self._loop = loop

    def __call__(self, seconds: float) -> None:
        """Waits until no call is inside, for `seconds` at most. Returns at once where the loop has ended."""
        if not self._background.ahead or not self._loop.is_running():
            return
        clear = self._background.clear(seconds)
        try:
            waiting = asyncio.run_coroutine_threadsafe(clear, self._loop)
        except RuntimeError:  # the loop was closed just now
            clear.close()
            return
        # A loop that ends cancels what waits on it.
        with suppress(TimeoutError, CancelledError):
            waiting.result(seconds + LATE_S)
