"""The one thread that searches on a device, for all catalogs that are served from it.

Rule: an index belongs to the thread that adopts it. It is built by another thread while the device thread goes on
searching, and is handed over when it is ready; from then on only the device thread touches it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

ValueT = TypeVar("ValueT")


class DeviceThread:
    """Runs what it is given in the order in which it was given. `executor` has one thread; a test may bring its own."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="index")

    async def run(self, work: Callable[[], ValueT]) -> ValueT:
        """The result of `work`; for the event loop."""
        return await asyncio.wrap_future(self._executor.submit(work))

    def call(self, work: Callable[[], ValueT]) -> ValueT:
        """The result of `work`, waited for; for threads that build an index."""
        return self._executor.submit(work).result()

    def close(self) -> None:
        """Ends the thread when it has done what it was given."""
        self._executor.shutdown(wait=False)
