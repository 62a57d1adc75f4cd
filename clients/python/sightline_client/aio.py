"""The asynchronous client: one typed stream of events per photo.

Rule: everything that it raises is a `SightlineError`, but for the cancellation of its caller's own task.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Self, TypedDict, Unpack

import grpc.aio

from sightline.v1 import lens_service_pb2
from sightline_client import channels, credentials, errors, request
from sightline_client.answers import Answer
from sightline_client.calls import Calls
from sightline_client.events import Event, Lane, Region
from sightline_client.filters import Filter
from sightline_client.options import ClientOptions
from sightline_client.photo import Photo
from sightline_client.retry import Retrier, RetryThrottle
from sightline_client.server_info import ServerInfo, info_from_pb
from sightline_client.stream import Stream
from sightline_client.vectors import Vector
from sightline_client.wording import SERVER_INFO

SearchMethod = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]


class ObjectParameters(TypedDict, total=False):
    """Parameters of every search; one that is left out, 0 or empty is the server's default."""

    catalog: str
    max_products: int
    min_similarity: float
    """Leaves out products below this cosine similarity, 0..1."""
    lane: Lane
    one_per_group: bool | None
    """Shows one product of each `item_group_id`, so that the variants of one article do not fill the answer."""
    filter: Filter | None
    """The conditions that products must meet to be returned."""
    grant: str | None
    """The consent grant for this search, where the catalog takes grants; see `sightline_client.grants`."""
    text: str | None
    """A text such as "in blue", in addition to what is shown; `ServerInfo` says where that works."""
    text_weight: float | None
    """The weight of the text, 0..1; None is the server's default, which is 0.3."""


class SearchParameters(ObjectParameters, total=False):
    """Parameters of the search of a photo in addition to those of every search."""

    regions: Sequence[Region]
    """Boxes to search as they are and points that a person tapped; without any, the detector decides."""
    max_objects: int
    look_closer: bool
    """Looks for smaller objects in parts of the photo after the first answer; not together with `regions`."""


class AsyncClient:
    """Searches photos on one server. Use it in one event loop; share it between tasks.

    ```python
    async with AsyncClient(ClientOptions("shop-search:50051", tls=TlsOptions())) as client:
        async for event in client.search(photo):
            ...
    ```
    """

    def __init__(
        self,
        options: ClientOptions | str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`options` may be just a target on this machine, HOST:PORT or unix:PATH.

        Raises `ConfigurationError` for options and files that cannot be used.
        """
        self._options = as_options(options)
        self._clock = clock
        self._sleep = sleep
        self._retrier = Retrier(self._options.retry, RetryThrottle())
        self._channels = channels.Channels(self._options)
        self._calls = Calls(self._options, SERVER_INFO, shared=self._channels, clock=clock, sleep=sleep)
        self._streams: set[Stream] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls that still run, with `ClientStateError` for their callers, and closes every channel."""
        self._channels.begin_close()
        while self._streams:
            await asyncio.gather(*(self._end(stream) for stream in list(self._streams)))
        await self._calls.close()

    def search(
        self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> AsyncGenerator[Event, None]:
        """Searches one encoded photo and yields each event as it arrives, Done last.

        `timeout_s` above 0 is the deadline of the whole search; `math.inf` sets none. Leave the loop early with
        `contextlib.aclosing`, which ends the call at once. Raises `SightlineError` when the first event is asked for.
        """
        make = partial(request.serialized, photo, parameters, max_photo_bytes=self._options.max_photo_bytes)
        return self._events(channels.SEARCH, make, timeout_s, parameters.get("grant"))

    def search_crops(
        self, crops: Iterable[Photo], *, timeout_s: float | None = None, **parameters: Unpack[ObjectParameters]
    ) -> AsyncGenerator[Event, None]:
        """Searches encoded images that the caller cut out of a photo, and yields events as `search` does.

        Each of `crops` is one object as a whole, in this order; people in them are handled as in photos. Raises
        `SightlineError`.
        """
        make = partial(request.serialized_crops, crops, parameters, max_bytes=self._options.max_photo_bytes)
        return self._events(channels.SEARCH, make, timeout_s, parameters.get("grant"))

    def search_embeddings(
        self,
        embeddings: Iterable[Vector],
        *,
        embedder: str,
        timeout_s: float | None = None,
        **parameters: Unpack[ObjectParameters],
    ) -> AsyncGenerator[Event, None]:
        """Searches embeddings that the caller made of objects, and yields events as `search` does.

        Each of `embeddings` is one object; `embedder` is the one that made them, as `Done.embedder` names it. Raises
        `SightlineError`, of it `FailedPreconditionError` where the catalog has another embedder.
        """
        make = partial(request.serialized_embeddings, embeddings, embedder, parameters)
        return self._events(channels.SEARCH_EMBEDDINGS, make, timeout_s, parameters.get("grant"))

    async def _events(
        self, path: str, make: Callable[[], bytes], timeout_s: float | None, grant: str | None
    ) -> AsyncGenerator[Event, None]:
        """The events of the search at `path`, whose message `make` gives, retries included."""
        deadline = self._clock() + request.timeout_s(self._options.timeout_s if timeout_s is None else timeout_s)
        message = make()
        attempt, refusal = 0, None
        while True:
            attempt += 1
            stream = await self._start(path, message, deadline, grant)
            try:
                while (event := await stream.read()) is not None:
                    yield event
                self._retrier.throttle.succeeded()
                return
            except errors.SightlineError as error:
                # An attempt before may have used the grant up; what ended that one is the reason.
                if refusal is not None and error.reason == "GRANT_REPLAYED":
                    raise refusal from None
                delay = self._retrier.delay_s(attempt, error, deadline - self._clock())
                if delay is None:
                    raise
                refusal = error
            finally:
                await self._end(stream)
            await self._sleep(delay)

    async def find(
        self, photo: Photo, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> Answer:
        """The whole answer at once, for callers that do not show results as they come. Raises `SightlineError`."""
        async with aclosing(self.search(photo, timeout_s=timeout_s, **parameters)) as events:
            return Answer.of([event async for event in events])

    async def find_crops(
        self, crops: Iterable[Photo], *, timeout_s: float | None = None, **parameters: Unpack[ObjectParameters]
    ) -> Answer:
        """The whole answer of `search_crops` at once. Raises `SightlineError`."""
        async with aclosing(self.search_crops(crops, timeout_s=timeout_s, **parameters)) as events:
            return Answer.of([event async for event in events])

    async def find_embeddings(
        self,
        embeddings: Iterable[Vector],
        *,
        embedder: str,
        timeout_s: float | None = None,
        **parameters: Unpack[ObjectParameters],
    ) -> Answer:
        """The whole answer of `search_embeddings` at once. Raises `SightlineError`."""
        found = self.search_embeddings(embeddings, embedder=embedder, timeout_s=timeout_s, **parameters)
        async with aclosing(found) as events:
            return Answer.of([event async for event in events])

    async def server_info(
        self, catalog: str = "", *, lane: Lane = Lane.INTERACTIVE, timeout_s: float | None = None
    ) -> ServerInfo:
        """Returns what the server says about `catalog`, or about every catalog that the caller may search in `lane`.

        Raises `SightlineError`, of it `NotFoundError` for a catalog that the caller may not search.
        """
        message = request.info(catalog, lane)
        answer = lens_service_pb2.GetServerInfoResponse
        return info_from_pb(await self._calls.message(channels.SERVER_INFO, message, answer, timeout_s))

    async def _start(self, path: str, message: bytes, deadline: float, grant: str | None) -> Stream:
        self._channels.check()
        metadata = await credentials.metadata(self._options.token, deadline - self._clock())
        metadata += credentials.grant_metadata(grant)
        # A second attempt goes over another connection, where there is one.
        method: SearchMethod = self._channels.next().unary_stream(path)
        left_s = max(0.0, deadline - self._clock())
        stream = Stream(
            method(message, timeout=None if left_s == math.inf else left_s, metadata=metadata), self._options
        )
        self._streams.add(stream)
        return stream

    async def _end(self, stream: Stream) -> None:
        await stream.end()
        self._streams.discard(stream)


def as_options(options: ClientOptions | str | None) -> ClientOptions:
    """The options of a client that is made with just a target, or with nothing. Raises `ConfigurationError`."""
    if isinstance(options, ClientOptions):
        return options
    return ClientOptions() if options is None else ClientOptions(target=options)
