"""Blocking work of an operation in a thread, which ends soon after a cancellation."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sightline_server.stages.uncancelled import ended

ValueT = TypeVar("ValueT")


class TransferCancelledError(Exception):
    """Ends the thread of an operation that was cancelled."""


async def in_thread(work: Callable[[Callable[[], None]], ValueT]) -> ValueT:
    """Runs `work` in a thread. A cancellation ends it at its next check, and returns once it has ended.

    Work that was done before a check saw the cancellation is done: it counts, and the cancellation does not.
    """
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set():
            raise TransferCancelledError

    with ThreadPoolExecutor(1, thread_name_prefix="transfer") as executor:
        running = asyncio.get_running_loop().run_in_executor(executor, work, check)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            cancelled.set()
            await ended(running)
            if isinstance(running.exception(), TransferCancelledError):
                raise
            return running.result()
