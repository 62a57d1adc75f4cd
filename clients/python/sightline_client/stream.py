"""One call to the server, read event by event.

Rule: a call that its caller abandons is cancelled and then read to its end by a background task. A read that is
cancelled halfway leaks memory inside gRPC (grpc/grpc#43360), and a call that nobody ends stays in flight.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sightline.v1 import lens_service_pb2
from sightline_client import channels, convert, status
from sightline_client.events import Done, Event
from sightline_client.options import ClientOptions


class Stream:
    """One call: reads in tasks that no caller's cancellation reaches."""

    def __init__(self, call: channels.SearchCall, options: ClientOptions) -> None:
        self._call = call
        self._options = options
        self._messages = call.__aiter__()
        self._pending: asyncio.Task[bytes | None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._arrived: list[Event] = []
        self._ended = False

    async def read(self) -> Event | None:
        """The next event, or None after Done. Raises `SightlineError`."""
        while (message := await self._message()) is not None:
            event = convert.event_from_pb(self._parsed(message))
            if event is not None:
                self._arrived.append(event)
                return event
        self._ended = True
        if not (self._arrived and isinstance(self._arrived[-1], Done)):
            raise status.ended_early(self._arrived)
        return None

    async def end(self) -> None:
        """Cancels the call unless it has ended, and waits until gRPC has let go of it, also if cancelled itself."""
        if self._ended:
            return
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._draining)

    async def _message(self) -> bytes | None:
        if self._draining is not None:  # two reads at once are not allowed
            raise channels.closed()
        self._pending = asyncio.create_task(_next(self._messages))
        try:
            return await asyncio.shield(self._pending)
        except grpc.aio.AioRpcError as failed:
            self._ended = True
            raise status.error_from_call(failed, self._arrived, self._options) from failed
        except asyncio.CancelledError:
            if self._caller_is_cancelled():
                raise
            raise channels.closed() from None

    def _caller_is_cancelled(self) -> bool:
        """Returns whether the waiting task was cancelled, and not the call, which only closing the client cancels."""
        task = asyncio.current_task()
        return self._pending is None or not self._pending.cancelled() or task is None or task.cancelling() > 0

    def _parsed(self, message: bytes) -> lens_service_pb2.SearchResponse:
        if len(message) > self._options.max_answer_bytes:
            raise status.answer_too_large(len(message), self._arrived, self._options)
        try:
            return lens_service_pb2.SearchResponse.FromString(message)
        except DecodeError as error:
            raise status.unreadable_answer(self._arrived) from error

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
