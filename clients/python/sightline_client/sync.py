"""The blocking client: the asynchronous one, run on an event loop in a separate thread.

Rule: no second implementation; what the asynchronous client does about deadlines, retries and errors holds here too.
Make it after a fork, never before: gRPC does not survive one.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import aclosing
from queue import SimpleQueue
from types import TracebackType
from typing import Self, Unpack

from sightline_client import channels
from sightline_client.aio import AsyncClient, ObjectParameters, SearchParameters
from sightline_client.answers import Answer
from sightline_client.background import Background
from sightline_client.events import Event, Lane
from sightline_client.options import ClientOptions
from sightline_client.photo import Photo
from sightline_client.server_info import ServerInfo
from sightline_client.vectors import Vector


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
        self._background = Background()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls that still run, with `ClientStateError` for their callers, and closes every channel."""
        self._background.close(self._client.close)

    def search(
        self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> Generator[Event, None, None]:
        """Searches one encoded photo and yields each event as it arrives, Done last. Raises `SightlineError`."""
        return self._arriving(self._client.search(photo, timeout_s=timeout_s, **parameters))

    def find(self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]) -> Answer:
        """The whole answer at once. Raises `SightlineError`."""
        return Answer.of(self.search(photo, timeout_s=timeout_s, **parameters))

    def search_crops(
        self, crops: Iterable[Photo], *, timeout_s: float | None = None, **parameters: Unpack[ObjectParameters]
    ) -> Generator[Event, None, None]:
        """Searches images that the caller cut out; see `AsyncClient.search_crops`. Raises `SightlineError`."""
        return self._arriving(self._client.search_crops(crops, timeout_s=timeout_s, **parameters))

    def find_crops(
        self, crops: Iterable[Photo], *, timeout_s: float | None = None, **parameters: Unpack[ObjectParameters]
    ) -> Answer:
        """The whole answer of `search_crops` at once. Raises `SightlineError`."""
        return Answer.of(self.search_crops(crops, timeout_s=timeout_s, **parameters))

    def search_embeddings(
        self,
        embeddings: Iterable[Vector],
        *,
        embedder: str,
        timeout_s: float | None = None,
        **parameters: Unpack[ObjectParameters],
    ) -> Generator[Event, None, None]:
        """Searches embeddings that the caller made; see `AsyncClient.search_embeddings`. Raises `SightlineError`."""
        return self._arriving(
            self._client.search_embeddings(embeddings, embedder=embedder, timeout_s=timeout_s, **parameters)
        )

    def find_embeddings(
        self,
        embeddings: Iterable[Vector],
        *,
        embedder: str,
        timeout_s: float | None = None,
        **parameters: Unpack[ObjectParameters],
    ) -> Answer:
        """The whole answer of `search_embeddings` at once. Raises `SightlineError`."""
        return Answer.of(self.search_embeddings(embeddings, embedder=embedder, timeout_s=timeout_s, **parameters))

    def server_info(
        self, catalog: str = "", *, lane: Lane = Lane.INTERACTIVE, timeout_s: float | None = None
    ) -> ServerInfo:
        """Returns what the server says about itself; see `AsyncClient.server_info`. Raises `SightlineError`."""
        return self._background.result(self._client.server_info(catalog, lane=lane, timeout_s=timeout_s))

    def _arriving(self, events: AsyncGenerator[Event, None]) -> Generator[Event, None, None]:
        """The events of a search that runs in the other thread."""
        arrived: _Arrived = SimpleQueue()
        pump = self._background.submit(_pump(events, arrived))
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            pump.cancel()


async def _pump(events: AsyncGenerator[Event, None], arrived: "_Arrived") -> None:
    try:
        async with aclosing(events):
            async for event in events:
                arrived.put(event)
        arrived.put(None)
    except asyncio.CancelledError:  # by a client that is closed, or by a reader that has stopped
        arrived.put(channels.closed())
    except BaseException as error:  # handed to the caller's thread
        arrived.put(error)


_Arrived = SimpleQueue[Event | BaseException | None]
"""Events of one search on their way to the caller's thread; None after the last one."""
