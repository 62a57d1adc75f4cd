"""The channels of one client, and where it may be used: in one event loop of one process, until it is closed.

Rule: channels are opened at the first call, so that a client can be made anywhere; gRPC ties them to the loop that runs
at that moment. Wrong use raises `ClientStateError` instead of gRPC's own exceptions, or of waiting without end.
"""

import asyncio
import os
from collections.abc import Iterator
from itertools import cycle

import grpc
import grpc.aio

from sightline.v1 import lens_service_pb2
from sightline_client.errors import ClientStateError
from sightline_client.options import ClientOptions
from sightline_client.target import grpc_target

_SERVICE = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"].full_name
SEARCH = f"/{_SERVICE}/Search"
SEARCH_EMBEDDINGS = f"/{_SERVICE}/SearchEmbeddings"
SERVER_INFO = f"/{_SERVICE}/GetServerInfo"

# Messages stay bytes: the client measures and parses them itself, because gRPC ends a call without saying why when a
# message cannot be parsed.
SearchCall = grpc.aio.UnaryStreamCall[bytes, bytes]


class Channels:
    """Opens channels as the options say and hands them out in turn."""

    def __init__(self, options: ClientOptions) -> None:
        """Raises `ConfigurationError` for TLS files that cannot be used."""
        self._options = options
        self._credentials = None if options.tls is None else options.tls.credentials()
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._turns: Iterator[grpc.aio.Channel] = iter(())
        self.closed = False

    def next(self) -> grpc.aio.Channel:
        """The next channel. Raises `ClientStateError` where the client cannot be used."""
        self.check()
        if not self._channels:
            self._channels = [self._open() for _ in range(self._options.channels)]
            self._turns = cycle(self._channels)
        return next(self._turns)

    def check(self) -> None:
        """Raises `ClientStateError` where the client cannot be used."""
        if self.closed:
            raise closed()
        self._check_place()

    def begin_close(self) -> None:
        """Refuses calls from now on. Raises `ClientStateError` in another event loop than that of the calls."""
        if self._channels:
            self._check_place()
        self.closed = True

    async def close(self) -> None:
        """Closes every channel; `begin_close` comes first."""
        await asyncio.gather(*(channel.close() for channel in self._channels))
        self._channels = []

    def _check_place(self) -> None:
        if os.getpid() != self._process:
            raise made_before_fork()
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            raise ClientStateError(
                "AsyncClient needs asyncio's event loop; use Client in code without asyncio"
            ) from None
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise ClientStateError("the client is used in another event loop than before: make one client for each")

    def _open(self) -> grpc.aio.Channel:
        arguments = self._options.channel_arguments()
        target = grpc_target(self._options.target, tls=self._credentials is not None)
        if self._credentials is None:
            return grpc.aio.insecure_channel(target, options=arguments)
        return grpc.aio.secure_channel(target, self._credentials, options=arguments)


def closed() -> ClientStateError:
    """The error for a client that is closed, before a call or during it."""
    return ClientStateError("the client is closed")


def made_before_fork() -> ClientStateError:
    """The error for a client in a forked process: gRPC and the client's thread do not survive a fork."""
    return ClientStateError("the client was made before this process was forked: make it after the fork")
