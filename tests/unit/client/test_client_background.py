"""The event loop of a blocking client: nothing is left in it when the client is closed."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from sightline_client import background
from sightline_client.background import Background


async def ends_later(ended: list[str]) -> None:
    """As the task that gRPC has for a call: it ends some turns of the loop after the call."""
    for _ in range(5):
        await asyncio.sleep(0)
    ended.append("by itself")


async def never_ends(ended: list[str]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        ended.append("cancelled")


async def ignores_its_end(ended: list[str]) -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        ended.append("ignored")


def close_with(task: Callable[[list[str]], Coroutine[Any, Any, None]], ended: list[str]) -> set[asyncio.Task[None]]:
    """Closes a loop that still has `task`, in a thread that must end. Returns the task, which asyncio reports when it
    is freed and has not ended."""
    kept: set[asyncio.Task[None]] = set()

    async def end() -> None:
        kept.add(asyncio.create_task(task(ended)))

    closing = threading.Thread(target=Background().close, args=(end,), daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    return kept


@pytest.mark.parametrize(
    ("task", "outcome", "reported"),
    [(ends_later, "by itself", False), (never_ends, "cancelled", False), (ignores_its_end, "ignored", True)],
)
def test_a_closed_client_leaves_no_task_that_can_end_and_waits_for_no_other(
    task: Callable[[list[str]], Coroutine[Any, Any, None]],
    outcome: str,
    reported: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "LEFT_S", 0.05)
    ended: list[str] = []
    kept = close_with(task, ended)
    assert ended == [outcome]
    with caplog.at_level(logging.ERROR, "asyncio"):
        kept.clear()
        gc.collect()
    assert ("destroyed" in caplog.text) == reported


def test_the_thread_of_a_client_ends_when_its_channels_cannot_be_closed() -> None:
    async def close() -> None:
        raise ZeroDivisionError

    loop = Background()
    with pytest.raises(ZeroDivisionError):
        loop.close(close)
    assert not loop._thread.is_alive()
    loop.close(close)
