"""Works for several images of one call: their order, how many run at once, and what an error or a cancellation ends."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from sightline_server.stages.together import AT_ONCE, together


class Works:
    """Works that wait for a gate, and are counted."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started: list[int] = []
        self.inside = self.most = 0
        self.cancelled: list[int] = []

    async def work(self, number: int) -> int:
        self.started.append(number)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.inside -= 1
        return number


def some(works: Works, count: int) -> list[Callable[[], Coroutine[Any, Any, int]]]:
    return [partial(works.work, number) for number in range(count)]


async def fails() -> int:
    raise ValueError("the image")


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
async def test_results_are_in_order_and_only_a_few_run_at_once(count: int) -> None:
    works = Works()
    works.gate.set()
    assert await together(some(works, count)) == list(range(count))
    assert works.most <= AT_ONCE


async def test_the_first_error_cancels_the_others_and_begins_no_more() -> None:
    works = Works()
    with pytest.raises(ValueError, match="the image"):
        await together([fails, *some(works, 2 * AT_ONCE)])
    assert sorted(works.cancelled) == sorted(works.started) == list(range(AT_ONCE - 1))


async def test_a_cancellation_ends_all_of_them() -> None:
    works = Works()
    task = asyncio.create_task(together(some(works, 2 * AT_ONCE)))
    while works.inside < AT_ONCE:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert works.inside == 0 and sorted(works.cancelled) == list(range(AT_ONCE))


async def test_one_work_needs_no_task() -> None:
    before = len(asyncio.all_tasks())

    async def counted() -> int:
        return len(asyncio.all_tasks())

    assert await together([counted]) == [before]
