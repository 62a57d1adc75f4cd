"""Calls of methods that the server does not have, refused without reading their names.

grpc.aio reads the name of such a method as UTF-8 in the loop that accepts all calls. A name that is not UTF-8 ends that
loop and with it the server (seen in 1.84.0 to 1.85.3): one call without a credential would stop the service for
everybody. All methods here are registered, so whatever gRPC would look up by its name is unknown.
Rule: this is the one module that uses what grpc.aio does not document; `tests/contract/test_lens_unknown_methods.py`
fails where a release of it changes that.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

NO_METHOD = "Method not found!"
"""The message that gRPC gives, which clients and their tools know."""


class RegisteredMethods(cygrpc.AioServer):  # type: ignore[misc]  # gRPC's core has no types
    """gRPC's server, which hands only calls of registered methods to the loop that accepts them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._refusals: set[asyncio.Task[None]] = set()

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """The next call of a registered `method`; for None, which stands for all others, one that never comes."""
        if method is None:
            return asyncio.get_running_loop().create_task(self._refuse_unknown())
        future: asyncio.Future[Any] = super()._make_request_call_future(method)
        return future

    async def _refuse_unknown(self) -> NoReturn:
        """Refuses calls until the server stops, which is an error of gRPC's that its loop expects."""
        while True:
            call = await self._request_call()
            refusal = asyncio.create_task(refuse(call))
            # Else it would keep the message of the last refused call, which nobody reads, until the next one comes.
            del call
            # The event loop holds tasks weakly.
            self._refusals.add(refusal)
            refusal.add_done_callback(self._refusals.discard)


async def refuse(call: Any) -> None:
    """Ends a call with UNIMPLEMENTED."""
    context = cygrpc._ServicerContext(call, None, None, asyncio.get_running_loop())
    # Either that which `abort` always raises, or the error of a call that its caller has cancelled.
    try:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_METHOD)
    except (cygrpc.AbortError, cygrpc.BaseError) as error:
        # The call keeps the error, whose traceback keeps the call: such a circle, and the message that nobody has read,
        # would stay until Python's garbage collector runs, which it does not while the server rests.
        error.__traceback__ = None


@contextmanager
def registered_methods_only() -> Iterator[None]:
    """Makes `grpc.aio.server` use `RegisteredMethods` for the length of the block."""
    original = cygrpc.AioServer
    cygrpc.AioServer = RegisteredMethods
    try:
        yield
    finally:
        cygrpc.AioServer = original
