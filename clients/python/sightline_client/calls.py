"""Calls with one request and one answer, as bytes, with deadlines and retries.

Rule: a write is repeated only where its request has a request id, so that it is made once. What may have happened and
has no such id is reported instead.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc.aio
from google.protobuf.message import DecodeError, Message

from sightline_client import channels, credentials, errors, status
from sightline_client import request as requests
from sightline_client.options import ClientOptions
from sightline_client.retry import Retrier, RetryThrottle
from sightline_client.wording import Wording

UnaryMethod = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
UnaryCall = grpc.aio.UnaryUnaryCall[bytes, bytes]

M = TypeVar("M", bound=Message)


class Calls:
    """The calls of one client to one service."""

    def __init__(
        self,
        options: ClientOptions,
        wording: Wording,
        *,
        shared: channels.Channels | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`shared` are channels that the client uses for other calls, too.

        Raises `ConfigurationError` for TLS files that cannot be used.
        """
        self.options = options
        self.channels = shared or channels.Channels(options)
        self.retrier = Retrier(options.retry, RetryThrottle())
        self.sleep = sleep
        self._wording = wording
        self._clock = clock
        self._running: set[UnaryCall] = set()

    async def answer(self, path: str, request: bytes, timeout_s: float, *, repeatable: bool = True) -> bytes:
        """The answer of the method at `path` within `timeout_s`, retries included. Raises `SightlineError`."""
        deadline = self._clock() + timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                message = await self._attempt(path, request, deadline - self._clock())
            except errors.SightlineError as error:
                delay = self.retrier.delay_s(attempt, error, deadline - self._clock()) if repeatable else None
                if delay is None:
                    raise
            else:
                self.retrier.throttle.succeeded()
                return message
            await self.sleep(delay)

    async def message(
        self, path: str, request: Message, answer: type[M], timeout_s: float | None, *, repeatable: bool = True
    ) -> M:
        """The answer as a message; without `timeout_s` that of the options counts. Raises `SightlineError`."""
        seconds = requests.timeout_s(self.options.timeout_s if timeout_s is None else timeout_s)
        data = await self.answer(path, request.SerializeToString(), seconds, repeatable=repeatable)
        try:
            return answer.FromString(data)
        except DecodeError as error:
            raise status.unreadable_answer((), answer.DESCRIPTOR.name) from error

    def error_of(self, failed: grpc.aio.AioRpcError) -> errors.SightlineError:
        """The client's error for a failed call."""
        return status.error_from_call(failed, (), self.options, self._wording)

    def checked_size(self, message: bytes) -> bytes:
        """The message of an answer. Raises `AnswerTooLargeError` above the limit of the options."""
        if len(message) > self.options.max_answer_bytes:
            raise status.answer_too_large(len(message), (), self.options, self._wording)
        return message

    async def metadata(self, left_s: float) -> credentials.Metadata:
        """The headers of a call that has `left_s` seconds left. Raises `SightlineError`."""
        self.channels.check()
        return await credentials.metadata(self.options.token, left_s)

    async def close(self) -> None:
        """Ends the calls that still run, and closes every channel; `channels.begin_close` comes first."""
        for call in list(self._running):
            call.cancel()
        await self.channels.close()

    async def _attempt(self, path: str, request: bytes, left_s: float) -> bytes:
        deadline = self._clock() + left_s
        metadata = await self.metadata(left_s)
        left_s = deadline - self._clock()
        method: UnaryMethod = self.channels.next().unary_unary(path)
        call = method(request, timeout=None if left_s == math.inf else max(0.0, left_s), metadata=metadata)
        self._running.add(call)
        try:
            return self.checked_size(await call)
        except grpc.aio.AioRpcError as failed:
            raise self.error_of(failed) from failed
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise channels.closed() from None
        finally:
            self._running.discard(call)
