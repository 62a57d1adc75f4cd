"""Bounds around a service that is not ours, such as reflection: how many calls, for how long, and of which bytes.

Rule: such a service serves people and their tools and is never needed for a search, so it gets a few slots and little
time. Bytes that are not a request become an empty one, and are answered as a request that asks for nothing.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from sightline_server.admission.open_calls import OpenCalls
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.status import fail
from sightline_server.telemetry.metrics import Metrics

MOST, MOST_OF_ONE = 4, 2
"""Calls at once, in all and of one connection; each may hold a message of up to gRPC's limit."""
SECONDS = 10.0
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Guarded:
    """Replaces `server` where a service registers itself, and bounds the registered methods."""

    def __init__(self, server: grpc.aio.Server, metrics: Metrics) -> None:
        self._server = server
        self._metrics = metrics
        self._open = OpenCalls(most=MOST, most_of_one=MOST_OF_ONE, name="reflections")

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Replaces the method of `grpc.aio.Server` with this name."""
        self._server.add_generic_rpc_handlers([GenericHandler(handler, self.guard) for handler in handlers])

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Replaces the method of `grpc.aio.Server` with this name."""
        guarded = {name: self.guard(handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, guarded)

    def guard(self, handler: Handler) -> Handler:
        """`handler`, which streams both ways, within the bounds."""

        answer_all: Callable[..., AsyncGenerator[Any, None]] = handler.stream_stream  # type: ignore[assignment]
        decode: Callable[[bytes], Any] = handler.request_deserializer  # type: ignore[assignment]

        async def guarded(messages: AsyncIterable[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                with self._open.enter(context.peer()):
                    async with (
                        asyncio.timeout(SECONDS),
                        aclosing(answer_all(decoded(messages, decode), context)) as answers,
                    ):
                        async for answer in answers:
                            await context.write(answer)
            except TimeoutError:
                late = SightlineError(ErrorKind.DEADLINE_EXCEEDED, f"the call took more than {SECONDS:.0f} s")
                fail(context, late, secrets.token_hex(8))
            except SightlineError as error:
                self._metrics.refused_calls.labels(error.metadata["limit"]).inc()
                fail(context, error, secrets.token_hex(8))

        return grpc.stream_stream_rpc_method_handler(guarded, response_serializer=handler.response_serializer)


class GenericHandler(grpc.GenericRpcHandler):
    """A generic handler whose methods `guard` has bounded."""

    def __init__(self, inner: grpc.GenericRpcHandler, guard: Callable[[Handler], Handler]) -> None:
        self._inner = inner
        self._guard = guard

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """The bounded method, or None for one that is not of this handler."""
        handler = self._inner.service(handler_call_details)
        return None if handler is None else self._guard(handler)


async def decoded(messages: AsyncIterable[bytes], decode: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    """Each message as a request; an empty one for bytes that are not a request."""
    async for raw in messages:
        try:
            yield decode(raw)
        except DecodeError:
            yield decode(b"")
