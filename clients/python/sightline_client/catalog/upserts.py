"""One upsert: products in, one status per product out, in order, over as many calls as it takes.

Rule: bounded. Products are taken from the caller only while fewer than `in_flight` of them, and fewer than
`MAX_WAITING_BYTES`, wait for their status to be read. A call that the server refuses with UNAVAILABLE is made again
with the products that have no status yet; their request ids let the server write each of them once. The first product
of a call goes alone, because gRPC hides the status of a call that ends while it is written to (grpc/grpc#36066).
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import channels, errors, status
from sightline_client.calls import Calls
from sightline_client.catalog import convert
from sightline_client.catalog.products import ProductStatus
from sightline_client.catalog.waiting import Outgoing, Waiting
from sightline_client.messages import Messages

HIDDEN = "Internal error from Core"
"""gRPC's text in place of the status of a call that ended while it was written to."""

MAX_IDLE = 3
"""Calls in turn that a server may end as idle before one of their products has a status."""

UpsertMethod = grpc.aio.StreamStreamMultiCallable[bytes, bytes]
UpsertCall = grpc.aio.StreamStreamCall[bytes, bytes]


class IdleError(errors.SightlineError):
    """The call ended at its deadline, or because the server waited too long for a product."""


class Upsert:
    """One upsert in progress. `start` opens a call; `timeout_s` is the longest wait for one status.

    `explain` makes another call about the catalog, whose error is the reason where gRPC hides it.
    """

    def __init__(
        self,
        calls: Calls,
        start: Callable[[], Awaitable[UpsertCall]],
        explain: Callable[[], Awaitable[object]],
        products: AsyncGenerator[Outgoing, None],
        in_flight: int,
        timeout_s: float,
    ) -> None:
        self._calls = calls
        self._start = start
        self._explain = explain
        self._hidden = False
        self._timeout_s = timeout_s
        self._waiting = Waiting(in_flight)
        self._taking = asyncio.create_task(self._take(products))
        self._sending: asyncio.Task[None] | None = None
        self._messages: Messages | None = None
        self._attempt = 0
        self._idle = 0
        self._progress = False
        self._closed = False

    async def next(self) -> ProductStatus | None:
        """The status of the next product, or None after the last one. Raises `SightlineError`.

        What the caller's own iterable raises is passed on.
        """
        while True:
            delay: float | None
            try:
                return await self._next()
            except IdleError as error:
                # The server ends a call on which no product comes for a while; the next one opens another.
                self._idle += 1
                if self._idle > MAX_IDLE:
                    raise errors.DeadlineExceededError(error.message, code=error.code, reason=error.reason) from error
                delay = 0.0
            except errors.UnavailableError as error:
                # Where the status is hidden after some products, the next call shows it.
                again = self._hidden and self._progress
                delay = 0.0 if again else self._calls.retrier.delay_s(self._attempt, error, self._timeout_s)
                if delay is None:
                    if self._hidden:
                        await self._explain()
                    raise
            await self._end_call()
            await self._calls.sleep(delay)

    async def end(self) -> None:
        """Ends everything that runs, the call included; a reader that waits gets `ClientStateError`."""
        self._closed = True
        self._waiting.notify()
        await _cancelled(self._taking)
        await self._end_call()

    async def _next(self) -> ProductStatus | None:
        while (first := self._waiting.first) is None:
            if self._closed:
                raise channels.closed()
            if self._waiting.complete:
                self._taking.result()  # raises what the caller's iterable raised
                await self._close_call()
                return None
            await self._waiting.change()
        if first.error is not None:
            self._waiting.pop()
            return ProductStatus(first.index, first.id, first.error)
        answer = await self._answer()
        if answer.status.name not in ("", first.name):
            raise _misplaced()
        self._waiting.pop()
        self._attempt, self._idle, self._progress = 1, 0, True
        self._calls.retrier.throttle.succeeded()
        return convert.status_from_pb(answer.status, first.index, first.id)

    async def _answer(self) -> pb.UpsertProductsResponse:
        messages = self._messages or await self._open()
        try:
            async with asyncio.timeout(None if self._timeout_s == math.inf else self._timeout_s):
                message = await messages.next()
        except TimeoutError:
            text = f"no status came within {self._timeout_s:g} s; products without one may have been written"
            raise errors.DeadlineExceededError(text, code=grpc.StatusCode.DEADLINE_EXCEEDED.name) from None
        if message is None:
            raise errors.StreamBrokenError("the stream ended before every product had a status", code="OK")
        return _parsed(self._calls.checked_size(message))

    async def _open(self) -> Messages:
        """Makes a call that gets the products without a status."""
        if self._closed:
            raise channels.closed()
        self._attempt += 1
        self._waiting.send_again()
        call = await self._start()
        if self._closed:
            call.cancel()
            raise channels.closed()
        self._hidden = self._progress = False
        self._messages = Messages(call, self._error_of)
        self._sending = asyncio.create_task(self._send(call))
        return self._messages

    def _error_of(self, failed: grpc.aio.AioRpcError) -> errors.SightlineError:
        if failed.code() is grpc.StatusCode.INTERNAL and failed.details() == HIDDEN:
            self._hidden = True
            return errors.UnavailableError("the call ended while a product was being sent", code=failed.code().name)
        error = self._calls.error_of(failed)
        if isinstance(error, errors.DeadlineExceededError):  # of the call as a whole, or of its wait for a product
            return IdleError(error.message, code=error.code, reason=error.reason)
        return error

    async def _take(self, products: AsyncGenerator[Outgoing, None]) -> None:
        """Takes products from the caller as long as there is room for them."""
        try:
            while True:
                while self._waiting.full:
                    await self._waiting.change()
                product = await anext(products, None)
                if product is None:
                    return
                self._waiting.add(product)
        finally:
            self._waiting.finish()
            await products.aclose()

    async def _send(self, call: UpsertCall) -> None:
        # A call that has ended refuses messages; the reader gets its status.
        with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            while True:
                product = self._waiting.next_to_send()
                if product is not None:
                    await call.write(product.message)
                elif self._waiting.all_sent:
                    await call.done_writing()
                    return
                else:
                    await self._waiting.change()

    async def _close_call(self) -> None:
        """Reads the end of the call. One that breaks after the last status has done all that it was made for."""
        if self._messages is not None:
            with suppress(errors.UnavailableError, IdleError):
                if await self._messages.next() is not None:
                    raise _misplaced()

    async def _end_call(self) -> None:
        if self._sending is not None:
            await _cancelled(self._sending)
        if self._messages is not None:
            await self._messages.end()
        self._sending = self._messages = None


def _parsed(message: bytes) -> pb.UpsertProductsResponse:
    try:
        return pb.UpsertProductsResponse.FromString(message)
    except DecodeError as error:
        raise status.unreadable_answer((), "UpsertProductsResponse") from error


def _misplaced() -> errors.InternalError:
    return errors.InternalError("the server sent a status that belongs to none of the products that wait for one")


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancels the task and waits for its end; its own error is reported elsewhere."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
