"""The messages of one streaming call, read one by one.

Rule: a call that its caller abandons is cancelled and then read to its end by a background task. A read that is
cancelled halfway leaks memory inside gRPC (grpc/grpc#43360), and a call that is not ended stays in flight.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TypeAlias

import grpc.aio

from sightline_client import channels
from sightline_client.errors import SightlineError

StreamingCall: TypeAlias = grpc.aio.UnaryStreamCall[bytes, bytes] | grpc.aio.StreamStreamCall[bytes, bytes]


class Messages:
    """Reads in tasks that no caller's cancellation reaches; `error_of` makes the error of a failed call."""

    def __init__(self, call: StreamingCall, error_of: Callable[[grpc.aio.AioRpcError], SightlineError]) -> None:
        self._call = call
        self._error_of = error_of
        self._messages = call.__aiter__()
        self._pending: asyncio.Task[bytes | None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._ended = False

    async def next(self) -> bytes | None:
        """The next message, or None after the last one. Raises `SightlineError`."""
        if self._draining is not None:  # two reads at once are not allowed
            raise channels.closed()
        self._pending = asyncio.create_task(_next(self._messages))
        try:
            message = await asyncio.shield(self._pending)
        except grpc.aio.AioRpcError as failed:
            self._ended = True
            raise self._error_of(failed) from failed
        except asyncio.CancelledError:
            if self._caller_is_cancelled():
                raise
            raise channels.closed() from None
        self._ended = message is None
        return message

    async def end(self) -> None:
        """Cancels the call unless it has ended, and waits until gRPC has let go of it, also if cancelled itself."""
        if self._ended:
            return
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._draining)

    def _caller_is_cancelled(self) -> bool:
        """Returns whether the waiting task was cancelled, and not the call, which only closing the client cancels."""
        task = asyncio.current_task()
        return self._pending is None or not self._pending.cancelled() or task is None or task.cancelling() > 0

    async def _drain(self) -> None:
        self._call.cancel()
        # A call that was cancelled here ends with CancelledError, which is not a cancellation of this task.
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            if self._pending is not None:
                await self._pending
            while await _next(self._messages) is not None:
                pass
        self._ended = True


async def _next(messages: AsyncIterator[bytes]) -> bytes | None:
    return await anext(messages, None)
