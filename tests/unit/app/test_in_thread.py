"""Blocking work of an operation: what a cancellation ends, and what it comes too late for."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from sightline_server.app.in_thread import in_thread

PATIENCE_S = 10.0


class Steps:
    """Work in two steps, each of which waits for its turn; `done` says which were made."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.goes_on = threading.Event()
        self.done: list[str] = []

    def checked(self, check: Callable[[], None]) -> str:
        """Checks between the steps."""
        self.first()
        check()
        self.done.append("second")
        return "all"

    def unchecked(self, _: Callable[[], None]) -> str:
        """The last step, after which nothing is checked."""
        self.first()
        return "all"

    def failing(self, _: Callable[[], None]) -> str:
        """Work that fails in its last step."""
        self.first()
        raise OSError("the disk is full")

    def first(self) -> None:
        """Waits in the first step."""
        self.began.set()
        assert self.goes_on.wait(PATIENCE_S)
        self.done.append("first")


async def cancelled_during(work: Callable[[Callable[[], None]], str], steps: Steps, times: int) -> asyncio.Task[str]:
    """The ended task of `work`, which was cancelled `times` times during its first step."""
    task = asyncio.create_task(in_thread(work))
    assert await asyncio.to_thread(steps.began.wait, PATIENCE_S)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    steps.goes_on.set()
    await asyncio.wait({task}, timeout=PATIENCE_S)
    return task


@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_work_ends_at_its_next_check(times: int) -> None:
    steps = Steps()
    task = await cancelled_during(steps.checked, steps, times)
    assert task.cancelled()
    assert steps.done == ["first"]


@pytest.mark.parametrize("times", [1, 3])
async def test_work_that_was_done_before_a_check_saw_the_cancellation_is_done(times: int) -> None:
    steps = Steps()
    task = await cancelled_during(steps.unchecked, steps, times)
    assert task.result() == "all"


async def test_work_that_fails_after_a_cancellation_says_so() -> None:
    steps = Steps()
    task = await cancelled_during(steps.failing, steps, 1)
    assert isinstance(task.exception(), OSError)
