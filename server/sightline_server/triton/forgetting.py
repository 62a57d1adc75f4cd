"""Overwrites the data that searches left in the engine's memory, once it has been idle for some seconds.

Triton, its stubs and ONNX Runtime keep the memory of a batch for the next one. Black images in batches as large as the
largest since the last rest take the same memory and overwrite it. Rule: they yield to callers and fail in silence;
memory that they do not reach is overwritten after the next idle time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sightline_server.errors import SightlineError
from sightline_server.ports import Clock

log = logging.getLogger("sightline.engine")
REST_S = 5.0
"""Seconds without a call after which the memory is overwritten."""
LIMIT_S = 30.0
"""Longest time for overwriting it."""
Overwrite = Callable[[str, int], Awaitable[object]]
"""Runs a batch of black images on a model: (model, number of images)."""


class Forgetting:
    """Schedules the overwriting of the engine's memory."""

    def __init__(
        self, overwrite: Overwrite, give_back: Callable[[], None], clock: Clock, rest_s: float = REST_S
    ) -> None:
        """`give_back` returns this process's free memory to the kernel; it blocks and runs in a thread."""
        self._overwrite, self._give_back, self._clock, self._rest_s = overwrite, give_back, clock, rest_s
        self._under_way: dict[str, list[int]] = {}
        self._peaks: dict[str, list[int]] = {}
        self._called = asyncio.Event()
        self._last = 0.0

    def began(self, model: str, images: int) -> None:
        """A caller's batch of `images` begins."""
        running = self._under_way.setdefault(model, [])
        running.append(images)
        if sum(running) > sum(self._peaks.get(model, ())):
            self._peaks[model] = list(running)

    def ended(self, model: str, images: int) -> None:
        """A caller's batch of `images` has ended in the engine."""
        self._under_way[model].remove(images)
        self._last = self._clock()
        self._called.set()

    async def run(self) -> None:
        """Overwrites after each rest until it is cancelled."""
        while True:
            await self._called.wait()
            await self._rested()
            self._called.clear()
            peaks, self._peaks = self._peaks, {}
            try:
                async with asyncio.timeout(LIMIT_S):
                    await self._forget(peaks)
            except (SightlineError, TimeoutError) as error:
                # The memory of an engine that has ended is gone; the watch handles every other fault.
                log.debug("engine: memory not overwritten: %s", type(error).__name__)
            await asyncio.to_thread(self._give_back)

    async def _rested(self) -> None:
        """Returns when there has been no call for `rest_s`."""
        while True:
            rested_s = 0.0 if any(self._under_way.values()) else self._clock() - self._last
            if rested_s >= self._rest_s:
                return
            await asyncio.sleep(self._rest_s - rested_s)

    async def _forget(self, peaks: dict[str, list[int]]) -> None:
        for model, sizes in peaks.items():
            # One alone as well: a model may run it in other memory than a batch's.
            await self._overwrite(model, 1)
            # As they ran together, so that they need as much memory together.
            await asyncio.gather(*(self._overwrite(model, size) for size in sizes), return_exceptions=True)
