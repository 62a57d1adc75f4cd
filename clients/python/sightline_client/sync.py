"""The blocking client: the asynchronous one, run on an event loop in a separate thread.

Rule: no second implementation; what the asynchronous client does about deadlines, retries and errors holds here too.
Make it after a fork, never before: gRPC does not survive one.
"""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent import futures
from contextlib import aclosing
from queue import SimpleQueue
from types import TracebackType
from typing import Self, Unpack

from sightline_client import channels
from sightline_client.aio import AsyncClient, Photo, SearchParameters
from sightline_client.answers import Answer
from sightline_client.events import Event
from sightline_client.options import ClientOptions


class Client:
    """Searches photos on one server, from any thread.

    ```python
    with Client(ClientOptions("shop-search:50051", tls=TlsOptions())) as client:
        for event in client.search(photo):
            ...
    ```
    """

    def __init__(self, options: ClientOptions | str | None = None) -> None:
        """`options` may be just a target on this machine, HOST:PORT or unix:PATH.

        Raises `ConfigurationError` for options and files that cannot be used.
        """
        self._client = AsyncClient(options)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._pumps: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sightline-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls that still run, with `ClientStateError` for their callers, and closes every channel."""
        with self._lock:
            if self._closed or os.getpid() != self._process:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def search(
        self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> Generator[Event, None, None]:
        """Searches one encoded photo and yields each event as it arrives, Done last. Raises `SightlineError`."""
        arrived: _Arrived = SimpleQueue()
        pump = self._start(self._client.search(photo, timeout_s=timeout_s, **parameters), arrived)
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pump.cancel()

    def find(self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]) -> Answer:
        """The whole answer at once. Raises `SightlineError`."""
        return Answer.of(self.search(photo, timeout_s=timeout_s, **parameters))

    def _start(self, events: AsyncGenerator[Event, None], arrived: "_Arrived") -> "futures.Future[None]":
        with self._lock:
            if os.getpid() != self._process:
                raise channels.made_before_fork()
            if self._closed:
                raise channels.closed()
            return asyncio.run_coroutine_threadsafe(self._pump(events, arrived), self._loop)

    async def _pump(self, events: AsyncGenerator[Event, None], arrived: "_Arrived") -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            async with aclosing(events):
                async for event in events:
                    arrived.put(event)
            arrived.put(None)
        except asyncio.CancelledError:  # by `_end`, or by a reader that has stopped
            arrived.put(channels.closed())
        except BaseException as error:  # handed to the caller's thread
            arrived.put(error)
        finally:
            self._pumps.discard(task)

    async def _end(self) -> None:
        """Ends every call and lets each reader know: nothing runs in this loop afterwards."""
        await self._client.close()
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()  # waits between two attempts
        await asyncio.gather(*pumps, return_exceptions=True)


_Arrived = SimpleQueue[Event | BaseException | None]
"""Events of one search on their way to the caller's thread; None after the last one."""
