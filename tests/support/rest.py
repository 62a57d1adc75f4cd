"""A server at rest, before a fault and after it: nothing in flight, nothing waiting, and nothing held that was not held
before.

    async with unharmed(server):
        ...  # the fault

Rule: `/metrics` and `/proc` are asked, not the server's own objects; memory that is freed late has `REST_WITHIN_S`.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from load_tests.observe.holdings import Look, look
from load_tests.observe.scrapes import scrape
from tests.support.small_shop import PHOTO
from tests.support.world import RunningServer, asked, search

REST_WITHIN_S = 20.0
GOOD_WITHIN_S = 15.0
"""Of a call on a machine that may be busy with something else; that it succeeds is the question, not how fast."""
SLACK_THREADS = 2
"""gRPC lets threads of its pools come and go."""
SLACK_SHARED_BYTES = 6 << 20
"""Six regions of the smallest size: the pool keeps for the next batches what it once needed, and after the engine was
restarted it may have needed more at once than before."""
SLACK_DESCRIPTORS = 8
"""One for each of those regions, and connections that are being closed, which gRPC's client does when it likes."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The metrics and resources of a server at one instant."""

    in_flight: float
    open_calls: float
    request_bytes: float
    waiting: float
    ready: float
    held: Look

    @property
    def quiet(self) -> bool:
        """True if no call is open, no request is held, and nothing waits."""
        return (self.in_flight, self.open_calls, self.request_bytes, self.waiting, self.ready) == (0, 0, 0, 0, 1)

    def more_than(self, before: "Rest") -> dict[str, tuple[float, float]]:
        """The resources held beyond those of `before`, by kind: then and now. Roles that were replaced count too."""
        found: dict[str, tuple[float, float]] = {}
        for role, now in self.held.held.items():
            was = before.held.held.get(role)
            if role == "generator":
                continue
            if was is None:
                found[role] = (0, 1)
                continue
            if now.descriptors > was.descriptors + SLACK_DESCRIPTORS:
                found[f"descriptors of {role}"] = (was.descriptors, now.descriptors)
            if now.threads > was.threads + SLACK_THREADS:
                found[f"threads of {role}"] = (was.threads, now.threads)
        if self.held.shm_bytes > before.held.shm_bytes + SLACK_SHARED_BYTES:
            found["/dev/shm"] = (before.held.shm_bytes, self.held.shm_bytes)
        return found


def seen(server: RunningServer) -> Rest:
    """The metrics and resources of the server now."""
    found = scrape(server.process.metrics_url)
    return Rest(
        found.sum("sightline_in_flight"),
        found.sum("sightline_open_calls"),
        found.sum("sightline_request_bytes"),
        found.sum("sightline_queue_items"),
        found.sum("sightline_engine_ready"),
        look(server.pid, os.getpid()),
    )


async def at_rest(server: RunningServer, before: Rest | None = None) -> Rest:
    """The server once it is quiet and, with `before`, holds no more than it did then; fails when that takes long."""
    deadline = time.monotonic() + REST_WITHIN_S
    while True:
        now = await asyncio.to_thread(seen, server)
        more = now.more_than(before) if before else {}
        if now.quiet and not more:
            return now
        assert time.monotonic() < deadline, (now.in_flight, now.open_calls, now.request_bytes, now.waiting, more)
        await asyncio.sleep(0.1)


async def good_answer(server: RunningServer) -> None:
    """One photo gets its whole answer."""
    async with grpc.aio.insecure_channel(server.target) as channel:
        answer = await search(channel, asked(PHOTO, max_products=3), GOOD_WITHIN_S)
    assert answer.objects
    assert answer.failures == {}


async def until_inside(server: RunningServer, calls: int) -> None:
    """Returns when the handler works on exactly so many calls; fails when that takes long."""
    async with asyncio.timeout(REST_WITHIN_S):
        while await counted(server, "in_flight") != calls:  # noqa: ASYNC110 (another process gives no event)
            await asyncio.sleep(0.02)


async def counted(server: RunningServer, name: str, **labels: str) -> float:
    """A metric of the server, summed over what `labels` leave open."""
    return (await asyncio.to_thread(scrape, server.process.metrics_url)).sum(f"sightline_{name}", **labels)


@asynccontextmanager
async def unharmed(server: RunningServer) -> AsyncIterator[None]:
    """The block leaves the server as it was, and the next call succeeds."""
    before = await at_rest(server)
    yield
    await at_rest(server, before)
    await good_answer(server)
    await at_rest(server, before)
