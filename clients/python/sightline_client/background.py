"""The event loop of a blocking client, in a separate thread.

Rule: made after a fork, never before: gRPC does not survive one. After `close` nothing runs in the loop any more.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent import futures
from contextlib import suppress
from typing import Any, TypeVar, cast

from sightline_client import channels

T = TypeVar("T")
_END = object()
LEFT_S = 1.0
"""Seconds in which tasks of libraries may end by themselves when a client is closed."""


class Background:
    """Runs coroutines for callers in other threads."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sightline-client", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "futures.Future[T]":
        """Starts `coroutine` in the loop. Raises `ClientStateError` where the client cannot be used."""
        with self._lock:
            if os.getpid() != self._process:
                coroutine.close()
                raise channels.made_before_fork()
            if self._closed:
                coroutine.close()
                raise channels.closed()
            return asyncio.run_coroutine_threadsafe(self._noted(coroutine), self._loop)

    def result(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of `coroutine`. A call that its caller interrupts is cancelled."""
        future = self.submit(coroutine)
        try:
            return future.result()
        except futures.CancelledError:
            raise channels.closed() from None
        finally:
            future.cancel()

    def iterate(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """The values of `source`, each of them made when it is asked for."""
        turn = asyncio.Lock()  # a generator that is interrupted is closed after its last step has ended
        try:
            while (value := self.result(_next(source, turn))) is not _END:
                yield cast("T", value)
        finally:
            self._end(source, turn)

    def close(self, end: Callable[[], Awaitable[None]]) -> None:
        """Runs `end`, cancels what still runs after it, and ends the thread. Does nothing the second time."""
        with self._lock:
            if self._closed or os.getpid() != self._process:
                return
            self._closed = True
        try:
            asyncio.run_coroutine_threadsafe(self._finish(end), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _noted(self, coroutine: Coroutine[Any, Any, T]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await coroutine
        finally:
            self._tasks.discard(task)

    async def _finish(self, end: Callable[[], Awaitable[None]]) -> None:
        await end()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()  # waits between two attempts
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        # gRPC has a task for each call, which ends soon after it; asyncio reports one that a closed loop still has.
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            _, late = await asyncio.wait(left, timeout=LEFT_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=LEFT_S)

    def _end(self, source: AsyncGenerator[T, None], turn: asyncio.Lock) -> None:
        with self._lock:
            if self._closed or os.getpid() != self._process:
                return
            future = asyncio.run_coroutine_threadsafe(self._noted(_close(source, turn)), self._loop)
        # The garbage collector may close an abandoned generator in any thread, in that of the loop as well.
        if threading.current_thread() is not self._thread:
            with suppress(futures.CancelledError):
                future.result()


async def _next(source: AsyncGenerator[T, None], turn: asyncio.Lock) -> object:
    async with turn:
        return await anext(source, _END)


async def _close(source: AsyncGenerator[T, None], turn: asyncio.Lock) -> None:
    async with turn:
        await source.aclose()
