"""Makes single calls over real channels and notes what became of each. Runs in the generator's process.

Rule: light. Requests are serialised before the run and answers are never parsed: the first byte of a message, the tag
of the `oneof`, says which event it is.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from load_tests.generator.records import CODES, LEFT, UNANSWERED
from sightline_client.target import proxy_option

METHOD = "/sightline.v1.LensService/Search"
ACCEPTED, DETECTED, RESULTS, FAILURE, DONE = (field << 3 | 2 for field in range(1, 6))
"""First bytes of a serialised `SearchResponse`, by its event."""
DETAILS_KEY = "grpc-status-details-bin"


Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Manner:
    """The behaviour of a caller.

    `leave_after` names the last event that it waits for ("" for none) before it cancels `leave_s` later; None stays to
    the end. `pause_s` is waited before each message is read.
    """

    leave_after: str | None = None
    leave_s: float = 0.0
    pause_s: float = 0.0


PATIENT = Manner()
EVENTS = {ACCEPTED: "accepted", DETECTED: "detected", RESULTS: "results", FAILURE: "results", DONE: "done"}


class Caller:
    """Calls one server over several connections with a fixed list of serialised requests."""

    def __init__(self, target: str, requests: Sequence[bytes], *, connections: int, deadline_s: float) -> None:
        self._requests = requests
        self._deadline_s = deadline_s
        # A separate pool for each channel; otherwise gRPC makes one connection of them.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), proxy_option(target)]
        self._channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(connections)]
        self._methods: list[Any] = [channel.unary_stream(METHOD) for channel in self._channels]
        self.rows: list[tuple[float, ...]] = []
        self.started = 0.0

    async def connect(self) -> None:
        """Returns when every connection is established."""
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))

    async def close(self) -> None:
        """Ends the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def begin(self) -> None:
        """Starts the clock of a run and forgets the rows of the last one."""
        self.rows = []
        self.started = time.monotonic()

    def metadata(self, request: int) -> Metadata | None:
        """The metadata of a call with this request."""
        return None

    @property
    def now(self) -> float:
        """Seconds since the run's start."""
        return time.monotonic() - self.started

    async def call(self, place: int, request: int, intended: float, manner: Manner = PATIENT) -> str:
        """Makes one call, adds its row, and returns its code."""
        sent = self.now
        watch = Watch(self)
        stream = self._methods[place % len(self._methods)](
            self._requests[request], timeout=self._deadline_s, metadata=self.metadata(request)
        )
        try:
            if manner is PATIENT:
                async for message in stream:
                    watch.see(message)
            else:
                await follow(stream, watch, manner)
        except grpc.aio.AioRpcError as error:
            watch.code = code_of(error)
        except asyncio.CancelledError:
            if not stream.cancelled() or manner.leave_after is None:
                raise
            watch.code = LEFT
        ended = self.now
        instants = (intended, sent, watch.seen["accepted"], watch.seen["detected"], watch.seen["results"], ended)
        self.rows.append(
            (*instants, CODES.index(watch.code), watch.objects, watch.failures, request, manner.pause_s > 0)
        )
        return watch.code


class Watch:
    """The observations of one call."""

    def __init__(self, clock: Caller) -> None:
        self._clock = clock
        self.seen = {"accepted": 0.0, "detected": 0.0, "results": 0.0, "done": 0.0}
        self.code = UNANSWERED
        self.objects = 0
        self.failures = 0

    def see(self, message: bytes) -> None:
        """Notes one message."""
        kind = message[0]
        event = EVENTS[kind]
        self.seen[event] = self.seen[event] or self._clock.now
        self.objects += kind in (RESULTS, FAILURE)
        self.failures += kind == FAILURE
        if kind == DONE:
            self.code = "OK"


async def follow(stream: Any, watch: Watch, manner: Manner) -> None:
    """Reads at the manner's pace; leaves when its moment has come."""
    leave_later = partial(asyncio.get_running_loop().call_later, manner.leave_s, stream.cancel)
    leaving = leave_later() if manner.leave_after == "" else None
    try:
        async for message in stream:
            watch.see(message)
            if manner.leave_after is not None and EVENTS[message[0]] == manner.leave_after and leaving is None:
                leaving = leave_later()
            if manner.pause_s:
                await asyncio.sleep(manner.pause_s)
    finally:
        if leaving is not None:
            leaving.cancel()


def code_of(error: grpc.aio.AioRpcError) -> str:
    """The status as the server gave it; UNANSWERED where the caller's own clock or a broken connection made it."""
    metadata = error.trailing_metadata() or ()
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not any(key == DETAILS_KEY for key, _ in metadata):
        return UNANSWERED
    return str(error.code().name)
