"""A stream of requests: each message reserved, read within its time, and counted until its answer is known.

    message -> reserved, read -> a separate task (at most `WINDOW` at once) -> answers in the order of the messages
Rule: bounded whatever the caller does. Where answers are not read, or memory is short, nothing more is read, and
HTTP/2 holds the caller back. A stop of the server answers what was read and then ends the call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Self

import grpc

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.call import Call, Context
from sightline_server.rpc.method import ResponseT
from sightline_server.rpc.reading import SETTLE_S, Uploads, slow_upload

WINDOW = 32
IDLE_S = 60.0
"""Longest time in seconds that the caller may take for the next message, or to read an answer."""

Respond = Callable[[bytes], Awaitable[ResponseT]]
"""The answer to one message, whatever its bytes are. An error that it raises ends the call."""


class Message:
    """The bytes of one message and their memory."""

    def __init__(self, raw: bytes, release: Callable[[], None]) -> None:
        self.raw = raw
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Gives the memory back, once."""
        if self._release is not None:
            self._release()
        self._release, self.raw = None, b""


class RequestStream:
    """The messages of one call, in a block. `stopping` is set when the server stops; `charge` gets the size of each."""

    _stop: "asyncio.Task[bool]"
    """The wait for the stop of the server; one for all messages."""

    def __init__(
        self,
        uploads: Uploads,
        context: "Context[Any]",
        call: Call[Any],
        peer: str,
        stopping: asyncio.Event,
        charge: Callable[[int], None],
    ) -> None:
        self._uploads = uploads
        self._context = context
        self._call = call
        self._peer = peer
        self._stopping = stopping
        self._charge = charge

    def __enter__(self) -> Self:
        self._stop = asyncio.create_task(self._stopping.wait())
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.cancel()

    async def next(self) -> Message | None:
        """The next message; None at the end of the stream. Raises `SightlineError`."""
        held = await self._uploads.budget.reserve(self._uploads.largest, self._peer, self._give_way)
        try:
            raw = await self._read()
            if raw is grpc.aio.EOF:
                # A call that gRPC ended looks like one that its caller ended, until gRPC cancels it.
                await asyncio.sleep(SETTLE_S)
                self._uploads.budget.release(held)
                return None
            self._charge(len(raw))
        except BaseException:
            self._uploads.budget.release(held)
            raise
        self._uploads.budget.was_read(held, len(raw))
        return Message(raw, lambda: self._uploads.budget.release(held))

    async def _read(self) -> Any:
        """The next message of gRPC, unless the caller is idle or the server stops."""
        read = asyncio.ensure_future(self._context.read())
        try:
            await asyncio.wait((read, self._stop), timeout=IDLE_S, return_when=asyncio.FIRST_COMPLETED)
            if read.done():
                return read.result()
            if self._stop.done():
                raise SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)
            raise SightlineError(ErrorKind.DEADLINE_EXCEEDED, f"no message came for {IDLE_S:.0f} s")
        finally:
            read.cancel()

    def _give_way(self) -> None:
        self._call.end_now(slow_upload())


class Exchange(Generic[ResponseT]):
    """Answers each message of `stream` by `respond`, in order, while the next ones are being worked on."""

    def __init__(self, stream: RequestStream, respond: Respond[ResponseT], call: Call[ResponseT]) -> None:
        self._stream = stream
        self._respond = respond
        self._call = call
        self._answers: asyncio.Queue[asyncio.Task[ResponseT] | None] = asyncio.Queue(WINDOW)
        self._working: set[asyncio.Task[ResponseT]] = set()
        self._failure: SightlineError | None = None

    async def run(self, first: Message) -> None:
        """Answers `first` and what follows it to the end of the stream. Raises `SightlineError`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_all(first))
                group.create_task(self._send_all())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for task in self._working:
                task.cancel()
            await asyncio.gather(*self._working, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    async def _read_all(self, first: Message) -> None:
        message: Message | None = first
        while message is not None:
            task = asyncio.create_task(self._answered(message))
            self._working.add(task)
            await self._answers.put(task)
            try:
                message = await self._stream.next()
            except SightlineError as error:
                # What was read is answered first.
                self._failure = error
                break
        await self._answers.put(None)

    async def _answered(self, message: Message) -> ResponseT:
        try:
            return await self._respond(message.raw)
        finally:
            message.release()

    async def _send_all(self) -> None:
        while (task := await self._answers.get()) is not None:
            response = await task
            self._working.discard(task)
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._call.send(response)
            except TimeoutError:
                message = f"the caller read no answer for {IDLE_S:.0f} s"
                raise SightlineError(ErrorKind.DEADLINE_EXCEEDED, message) from None
