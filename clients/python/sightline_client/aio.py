"""The asynchronous client: one channel or some, one typed stream per photo.

Rule: a call that its caller leaves is cancelled and then read to its end by a task of the client's own. A read that is
cancelled halfway leaks memory inside gRPC (grpc/grpc#43360), and a call that nobody ends stays in flight.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from itertools import cycle
from types import TracebackType
from typing import Self, TypedDict, Unpack

import grpc
import grpc.aio

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_client import convert, errors, status
from sightline_client.answers import Answer
from sightline_client.events import Done, Event, Lane, Region
from sightline_client.options import ClientOptions
from sightline_client.retry import Retrier, RetryThrottle
from sightline_client.target import grpc_target

_Call = grpc.aio.UnaryStreamCall[lens_service_pb2.SearchRequest, lens_service_pb2.SearchResponse]


class SearchParameters(TypedDict, total=False):
    """What may be asked beside the photo; what is left out, 0 or empty is the server's default."""

    regions: Sequence[Region]
    """Boxes to search as they are and points that a person tapped; none lets the detector decide."""
    catalog: str
    max_objects: int
    max_products: int
    min_similarity: float
    """Leaves out products below this cosine similarity, 0..1."""
    lane: Lane
    one_per_group: bool | None
    """Shows one product of each `item_group_id`, so that the variants of one article do not fill the answer."""


class AsyncClient:
    """Searches photos on one server. Make it and use it in one event loop; share it between tasks.

    ```python
    async with AsyncClient("shop-search:50051") as client:
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
        """`options` may be just a target, HOST:PORT. Raises `ConfigurationError` for files that cannot be read."""
        self._options = ClientOptions(target=options) if isinstance(options, str) else options or ClientOptions()
        self._clock = clock
        self._sleep = sleep
        self._retrier = Retrier(self._options.retry, RetryThrottle())
        self._draining: set[asyncio.Task[None]] = set()
        self._channels = [_open(self._options) for _ in range(self._options.channels)]
        self._stubs: Iterator[lens_service_pb2_grpc.LensServiceAsyncStub] = cycle(
            [lens_service_pb2_grpc.LensServiceStub(channel) for channel in self._channels]
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls that still run and closes every channel."""
        while self._draining:
            await asyncio.wait(self._draining)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def search(
        self, photo: bytes, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> AsyncGenerator[Event, None]:
        """Searches one encoded photo and yields each event as it arrives, Done last.

        Leave the loop early with `contextlib.aclosing`, which ends the call at once. Raises `SightlineError`.
        """
        request = self._request(photo, parameters)
        deadline = self._clock() + (timeout_s if timeout_s is not None else self._options.timeout_s)
        attempt = 0
        while True:
            attempt += 1
            # A second attempt goes over another connection, where there is one.
            stream = _Stream(next(self._stubs).Search(request, timeout=max(0.0, deadline - self._clock())))
            try:
                while (event := await stream.read()) is not None:
                    yield event
                self._retrier.throttle.succeeded()
                return
            except errors.SightlineError as error:
                delay = self._retrier.delay_s(attempt, error, deadline - self._clock())
                if delay is None:
                    raise
            finally:
                await self._end(stream)
            await self._sleep(delay)

    async def find(
        self, photo: bytes, *, timeout_s: float | None = None, **parameters: Unpack[SearchParameters]
    ) -> Answer:
        """The whole answer at once, for callers who do not show results as they come. Raises `SightlineError`."""
        async with aclosing(self.search(photo, timeout_s=timeout_s, **parameters)) as events:
            return Answer.of([event async for event in events])

    def _request(self, photo: bytes, parameters: SearchParameters) -> lens_service_pb2.SearchRequest:
        limit = self._options.max_photo_bytes
        if len(photo) > limit:
            raise errors.PhotoTooLargeError(
                f"the photo has {len(photo)} bytes, the limit is {limit}",
                violations=[errors.FieldViolation("photo", f"at most {limit} bytes")],
            )
        return convert.request_to_pb(photo, **parameters)

    async def _end(self, stream: "_Stream") -> None:
        if stream.ended:
            return
        drain = asyncio.create_task(stream.drain())
        self._draining.add(drain)
        drain.add_done_callback(self._draining.discard)
        await asyncio.shield(drain)


class _Stream:
    """One call: reads in tasks that no caller's cancellation reaches."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._messages = call.__aiter__()
        self._pending: asyncio.Task[lens_service_pb2.SearchResponse | None] | None = None
        self._arrived: list[Event] = []
        self.ended = False

    async def read(self) -> Event | None:
        """The next event, or None after Done. Raises `SightlineError`."""
        while (message := await self._message()) is not None:
            event = convert.event_from_pb(message)
            if event is not None:
                self._arrived.append(event)
                return event
        self.ended = True
        if not (self._arrived and isinstance(self._arrived[-1], Done)):
            raise status.ended_early(self._arrived)
        return None

    async def _message(self) -> lens_service_pb2.SearchResponse | None:
        self._pending = asyncio.create_task(_next(self._messages))
        try:
            return await asyncio.shield(self._pending)
        except grpc.aio.AioRpcError as failed:
            self.ended = True
            raise status.error_from_call(failed, self._arrived) from failed

    async def drain(self) -> None:
        """Cancels the call and reads on until gRPC has let go of it."""
        self._call.cancel()
        # A call that was cancelled here ends with CancelledError, which is not a cancellation of this task.
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            if self._pending is not None:
                await self._pending
            while await _next(self._messages) is not None:
                pass
        self.ended = True


async def _next(messages: AsyncIterator[lens_service_pb2.SearchResponse]) -> lens_service_pb2.SearchResponse | None:
    return await anext(messages, None)


def _open(options: ClientOptions) -> grpc.aio.Channel:
    arguments = options.channel_arguments()
    target = grpc_target(options.target, tls=options.tls is not None)
    if options.tls is None:
        return grpc.aio.insecure_channel(target, options=arguments)
    return grpc.aio.secure_channel(target, options.tls.credentials(), options=arguments)
