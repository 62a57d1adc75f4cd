"""Waiting that a cancellation does not end, for what must be over before its caller goes on."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def cancelled(task: asyncio.Task[T]) -> None:
    """Cancels `task` and returns when it has ended."""
    task.cancel()
    await ended(task)


async def ended(running: asyncio.Future[T]) -> None:
    """Returns when `running` has ended, whatever its outcome and however often the waiting task is cancelled."""
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
