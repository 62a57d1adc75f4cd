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


def test_a_task_that_does_not_end_does_not_keep_a_client_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "LEFT_S", 0.05)
    ended: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def close() -> None:
        kept.add(asyncio.create_task(ignores_its_end(ended)))

    loop = Background()
    closing = threading.Thread(target=loop.close, args=(close,), daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert ended == ["ignored"]
    for task in kept:
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_the_thread_of_a_client_ends_when_its_channels_cannot_be_closed() -> None:
    async def close() -> None:
        raise ZeroDivisionError

    loop = Background()
    with pytest.raises(ZeroDivisionError):
        loop.close(close)
    assert not loop._thread.is_alive()
    loop.close(close)


@pytest.mark.parametrize(("task", "end"), [(ends_later, "by itself"), (never_ends, "cancelled")])
def test_tasks_of_libraries_have_ended_when_a_client_is_closed(
    task: Callable[[list[str]], Coroutine[Any, Any, None]],
    end: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "LEFT_S", 0.05)
    ended: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def close() -> None:
        kept.add(asyncio.create_task(task(ended)))

    loop = Background()
    loop.close(close)
    assert ended == [end]
    kept.clear()
    with caplog.at_level(logging.ERROR, "asyncio"):
        gc.collect()
    assert "destroyed" not in caplog.text
