"""The same work for several images of one call, a few at a time.

Rule: one image costs nothing more. Several share what a call may take of the batchers' queues.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from sightline_server.stages.uncancelled import cancelled

T = TypeVar("T")

AT_ONCE = 4
"""Images of one call that are worked on at the same time: 64 calls of them fill the detector's queue."""


async def together(works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
    """The results of all works, in order. The first error cancels the others, and is raised as it is."""
    if len(works) == 1:
        return [await works[0]()]
    results: list[T] = []
    for start in range(0, len(works), AT_ONCE):
        tasks = [asyncio.create_task(work()) for work in works[start : start + AT_ONCE]]
        try:
            while tasks:
                results.append(await tasks.pop(0))
        finally:
            # Taken out of the list: a task that failed would keep its image alive in a circle with this frame.
            while tasks:
                await cancelled(tasks.pop())
    return results
