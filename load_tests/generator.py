"""Sends calls over real channels and records what became of each.

Rule: the generator reports its own lateness; a run in which it sent later than `MAX_LATENESS_S` at p99 measured the
generator and not the server, and is invalid.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc

MAX_LATENESS_S = 0.005


@dataclass(slots=True)
class Outcome:
    """One call. Instants are seconds of `time.monotonic()`; `code` is gRPC's, UNANSWERED when nothing came back."""

    intended: float
    sent: float = 0.0
    first_result: float = 0.0
    ended: float = 0.0
    code: str = "UNANSWERED"
    objects: int = 0
    failures: int = 0

    @property
    def good(self) -> bool:
        """Answered in full: every object searched."""
        return self.code == "OK" and self.failures == 0

    @property
    def latency_s(self) -> float:
        """From the intended start to the end."""
        return self.ended - self.intended


@dataclass(slots=True)
class Run:
    """The calls of one run and the seconds from its first intended start to its last end."""

    outcomes: list[Outcome] = field(default_factory=list)
    started: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it took until the last answer."""
        return max((outcome.ended for outcome in self.outcomes), default=self.started) - self.started

    @property
    def lateness_p99_s(self) -> float:
        """How much later than intended calls were sent."""
        return percentile([outcome.sent - outcome.intended for outcome in self.outcomes], 99)

    def codes(self) -> Counter[str]:
        """Calls by code."""
        return Counter(outcome.code for outcome in self.outcomes)

    def good(self) -> list[Outcome]:
        """The calls that were answered in full."""
        return [outcome for outcome in self.outcomes if outcome.good]


class Generator:
    """Calls one server over several connections with a fixed list of photos, in turn."""

    def __init__(self, target: str, photos: Sequence[bytes], *, connections: int = 4, deadline_s: float = 2.0) -> None:
        self._requests = [lens_service_pb2.SearchRequest(photo=photo) for photo in photos]
        self._deadline_s = deadline_s
        # A pool of its own for each channel; otherwise gRPC makes one connection of them.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(connections)]
        self._stubs = [lens_service_pb2_grpc.LensServiceStub(channel) for channel in self._channels]

    async def __aenter__(self) -> "Generator":
        await asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def open_loop(self, arrivals: Iterable[float]) -> Run:
        """Starts a call at each of `arrivals` (seconds from now) and waits for all."""
        run = Run(started=time.monotonic())
        calls = []
        for place, at in enumerate(arrivals):
            outcome = Outcome(intended=run.started + at)
            run.outcomes.append(outcome)
            if (wait := outcome.intended - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            calls.append(asyncio.create_task(self._call(place, outcome)))
        await asyncio.gather(*calls)
        return run

    async def closed_loop(self, *, callers: int, seconds: float) -> Run:
        """Keeps `callers` calls under way for `seconds`: the most that the server can do, not its latency."""
        run = Run(started=time.monotonic())
        places = iter(range(10**9))

        async def caller() -> None:
            while time.monotonic() - run.started < seconds:
                outcome = Outcome(intended=time.monotonic())
                run.outcomes.append(outcome)
                await self._call(next(places), outcome)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return run

    async def _call(self, place: int, outcome: Outcome) -> None:
        stub = self._stubs[place % len(self._stubs)]
        outcome.sent = time.monotonic()
        try:
            async for answer in stub.Search(self._requests[place % len(self._requests)], timeout=self._deadline_s):
                event = answer.WhichOneof("event")
                if event in ("results", "failure"):
                    outcome.first_result = outcome.first_result or time.monotonic()
                    outcome.objects += 1
                    outcome.failures += event == "failure"
                elif event == "done":
                    outcome.code = "OK"
        except grpc.aio.AioRpcError as error:
            outcome.code = error.code().name
        outcome.ended = time.monotonic()


def percentile(values: Sequence[float], rank: float) -> float:
    """The `rank`th percentile, 0 for no values."""
    return float(np.percentile(values, rank)) if values else 0.0
