"""The blocking client: the asynchronous one, run on an event loop in a thread of its own.

Rule: no second implementation; what the asynchronous client does about deadlines, retries and errors holds here too.
Make it after a fork, never before: gRPC does not survive one.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import aclosing
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from sightline_client.aio import AsyncClient, SearchParameters
from sightline_client.answers import Answer
from sightline_client.events import Event
from sightline_client.options import ClientOptions

_T = TypeVar("_T")


class Client:
    """Searches photos on one server, from any thread.

    ```python
    with Client("shop-search:50051") as client:
        for event in client.search(photo):
            ...
    ```
    """

    def __init__(self, options: ClientOptions | str | None = None) -> None:
        """`options` may be just a target, HOST:PORT. Raises `ConfigurationError` for files that cannot be read."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sightline-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(_make(options))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls that still run and closes every channel."""
        if not self._loop.is_closed():
            self._run(self._client.close())
            self._stop()

    def search(
        self, photo: bytes, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> Generator[Event, None, None]:
        """Searches one encoded photo and yields each event as it arrives, Done last. Raises `SightlineError`."""
        arrived: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        events = self._client.search(photo, timeout_s=timeout_s, **parameters)
        pump = asyncio.run_coroutine_threadsafe(_pump(events, arrived), self._loop)
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pump.cancel()

    def find(self, photo: bytes, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]) -> Answer:
        """The whole answer at once. Raises `SightlineError`."""
        return Answer.of(self.search(photo, timeout_s=timeout_s, **parameters))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _make(options: ClientOptions | str | None) -> AsyncClient:
    return AsyncClient(options)


async def _pump(events: AsyncGenerator[Event, None], arrived: "SimpleQueue[Event | BaseException | None]") -> None:
    try:
        async with aclosing(events):
            async for event in events:
                arrived.put(event)
        arrived.put(None)
    except BaseException as error:  # handed to the caller's thread, cancellation included
        arrived.put(error)
