"""The common part of all attacks: the attacked server, bounds, an honest caller, and a probe of the server's memory.

Rule: the server is a process on 127.0.0.1 that was started for the attack, and is observed from outside: by what other
callers get, by `/metrics`, by `/proc` and by its log.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from load_tests.observe.scrapes import Scrape, scrape
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc

MB = 1_000_000
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
"""Channels of one process share a connection otherwise; the honest caller has its own."""
RETRIED = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
"""Errors that callers should retry."""
PATIENCE_S = 30.0
PATIENT_SERVER = {"SIGHTLINE_LIMITS__TARGET_FIRST_RESULT_S": "20"}
"""The adaptive limit stays where it begins: a busy machine must not look like an attack that succeeded."""
SAMPLE_S = 0.02


def alone(prefix: Sequence[str]) -> AbstractContextManager["Target"]:
    """In place of `Target.another` where no other server can be started."""
    raise Skipped(f"no server with {prefix[0]} can be started here")


@dataclass(frozen=True, slots=True)
class Target:
    """The server under attack, with a photo that it answers.

    `another` starts a second server like it, which the program of its argument becomes, for the length of a block.
    """

    address: str
    metrics_url: str
    pid: int
    log: Path
    photo: bytes
    another: Callable[[Sequence[str]], AbstractContextManager["Target"]] = alone

    def scrape(self) -> Scrape:
        """The current values of `/metrics`."""
        return scrape(self.metrics_url)

    def channel(self) -> grpc.aio.Channel:
        """A channel with its own connection."""
        return grpc.aio.insecure_channel(self.address, options=OWN_CONNECTION)

    @property
    def resident_mb(self) -> float:
        """The server's resident memory in MB."""
        return float(psutil.Process(self.pid).memory_info().rss) / MB

    def logged(self, text: str) -> int:
        """The number of times that `text` occurs in the server's log."""
        return self.log.read_text(errors="replace").count(text)


class Skipped(Exception):  # noqa: N818  (not an error: the attack cannot be tried here)
    """The attack cannot be tried on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and the most that it may be."""

    name: str
    measured: float
    at_most: float

    @property
    def kept(self) -> bool:
        """True if the figure is within the bound."""
        return self.measured <= self.at_most

    def __str__(self) -> str:
        return f"{self.name} {self.measured:.6g} <= {self.at_most:.6g}{'' if self.kept else ' BROKEN'}"


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `run` gets the server and the share of the full size to attack with, and says what it measured.

    `variables` are settings of the server under attack, in addition to `PATIENT_SERVER`.
    """

    name: str
    about: str
    run: Callable[[Target, float], Coroutine[Any, Any, list[Bound]]]
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the server under attack."""
        return {**PATIENT_SERVER, **self.variables}


def scaled(count: int, share: float) -> int:
    """`share` of `count`, at least one."""
    return max(1, round(count * share))


@dataclass(slots=True)
class Memory:
    """Resident memory in MB: before the block, and the most within it."""

    before: float
    peak: float

    @property
    def grown(self) -> float:
        """MB at the peak beyond what was there before."""
        return self.peak - self.before


def watched_memory(target: Target) -> AbstractContextManager[Memory]:
    """Samples the memory of the server's process during the block."""
    return watched(lambda: target.resident_mb)


@contextmanager
def watched(resident_mb: Callable[[], float]) -> Iterator[Memory]:
    """Samples a figure in MB during the block."""
    now = resident_mb()
    memory, over = Memory(now, now), threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            memory.peak = max(memory.peak, resident_mb())

    sampler = threading.Thread(target=sample, name="memory", daemon=True)
    sampler.start()
    try:
        yield memory
    finally:
        over.set()
        sampler.join()


@dataclass(slots=True)
class Seen:
    """The results of an honest caller: the code and the seconds of each search and of each health check."""

    searches: list[tuple[str, float]] = field(default_factory=list)
    probes: list[tuple[str, float]] = field(default_factory=list)

    @property
    def slowest_search(self) -> float:
        """Seconds of the slowest search that succeeded; infinity when none did."""
        return max((seconds for code, seconds in self.searches if code == "OK"), default=float("inf"))

    @property
    def slowest_probe(self) -> float:
        """Seconds of the slowest health check; infinity when one failed."""
        return max((seconds if code == "OK" else float("inf") for code, seconds in self.probes), default=float("inf"))

    @property
    def failed(self) -> int:
        """Searches that failed with an error that callers should not retry."""
        return sum(code != "OK" and code not in RETRIED for code, _ in self.searches)


@asynccontextmanager
async def honest_caller(
    target: Target, *, search_every_s: float = 0.5, probe_every_s: float = 0.02
) -> AsyncIterator[Seen]:
    """Searches and probes during the block from a separate connection, at a constant rate."""
    seen = Seen()
    async with target.channel() as channel:
        await search(channel, target.photo)
        tasks = [
            asyncio.create_task(keep(search_every_s, lambda: search(channel, target.photo), seen.searches)),
            asyncio.create_task(keep(probe_every_s, lambda: probe(channel), seen.probes)),
        ]
        try:
            yield seen
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def keep(every_s: float, call: Callable[[], Awaitable[str]], results: list[tuple[str, float]]) -> None:
    """Begins `call` every `every_s`, whether or not the one before has ended, until cancelled; waits for the last."""
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        begun = time.monotonic()
        code = await call()
        results.append((code, time.monotonic() - begun))

    try:
        while True:
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(every_s)
    finally:
        await asyncio.gather(*running)


async def search(channel: grpc.aio.Channel, photo: bytes, timeout_s: float = PATIENCE_S) -> str:
    """The code of one search."""
    call = lens_service_pb2_grpc.LensServiceStub(channel).Search(
        lens_service_pb2.SearchRequest(photo=photo), timeout=timeout_s
    )
    with suppress(grpc.aio.AioRpcError):
        async for _ in call:
            pass
    return str((await call.code()).name)


async def probe(channel: grpc.aio.Channel, timeout_s: float = PATIENCE_S) -> str:
    """The code of one health check."""
    call = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    with suppress(grpc.aio.AioRpcError):
        await call
    return str((await call.code()).name)


async def timed(target: Target, call: Callable[[grpc.aio.Channel], Awaitable[str]]) -> float:
    """Seconds of one call on a new connection; infinity when it fails."""
    async with target.channel() as channel:
        begun = time.monotonic()
        return time.monotonic() - begun if await call(channel) == "OK" else float("inf")


async def quiet_search(target: Target) -> float:
    """Seconds that a search may take while nothing else goes on: the slowest of three."""
    return max([await timed(target, lambda channel: search(channel, target.photo)) for _ in range(3)])


async def at_rest(target: Target, within_s: float = PATIENCE_S) -> bool:
    """Waits at most `within_s` until no search is open and no request byte is held; returns whether that happened."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        now = await asyncio.to_thread(target.scrape)
        if now.sum("sightline_open_calls") == 0 and now.sum("sightline_request_bytes") == 0:
            return True
        await asyncio.sleep(0.1)
    return False
