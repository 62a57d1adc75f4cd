"""Callers of a server with workers: each has its own connection, and so its own worker.

The server's log says which worker answered which request.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import psutil

from load_tests.observe.scrapes import scrape
from sightline.v1 import lens_service_pb2_grpc
from tests.support.world import RunningServer, asked

LINE = re.compile(r" Search worker=(\d+) request_id=(\w+) ")
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
IDLE_WITHIN_S = 30.0


@dataclass
class Call:
    """The end of one call."""

    request_id: str = ""
    code: str = "OK"

    @property
    def accepted(self) -> bool:
        """True if its first event came."""
        return bool(self.request_id)

    @property
    def lost(self) -> bool:
        """True if it was accepted and did not end well."""
        return self.accepted and self.code != "OK"


@dataclass
class Caller:
    """Makes one call after the other over its own connection."""

    channel: grpc.aio.Channel
    calls: list[Call] = field(default_factory=list)

    async def call(self, photo: bytes, timeout_s: float = 30.0) -> Call:
        """One call, noted when it has ended."""
        made = Call()
        try:
            async for event in lens_service_pb2_grpc.LensServiceStub(self.channel).Search(
                asked(photo), timeout=timeout_s
            ):
                if event.WhichOneof("event") == "accepted":
                    made.request_id = event.accepted.request_id
        except grpc.aio.AioRpcError as error:
            made.code = error.code().name
        self.calls.append(made)
        return made

    async def call_on(self, photo: bytes, until: asyncio.Event) -> None:
        """Calls until the event is set, however the calls end."""
        while not until.is_set():
            if (await self.call(photo)).code != "OK":
                await asyncio.sleep(0.05)


@asynccontextmanager
async def callers(server: RunningServer, count: int) -> AsyncIterator[list[Caller]]:
    """Callers with a connection each."""
    async with AsyncExitStack() as stack:
        yield [
            Caller(await stack.enter_async_context(grpc.aio.insecure_channel(server.target, options=OPTIONS)))
            for _ in range(count)
        ]


def worker_of(server: RunningServer, call: Call) -> int:
    """The number of the worker that answered `call`, which has ended. Raises `KeyError` when no line names it."""
    return {request: int(worker) for worker, request in LINE.findall(server.log.read_text())}[call.request_id]


def workers_of(server: RunningServer) -> list[psutil.Process]:
    """The worker processes below a server, oldest first."""
    children = psutil.Process(server.pid).children()
    found = [child for child in children if "sightline_server.workers.worker" in child.cmdline()]
    return sorted(found, key=lambda process: process.create_time())


def value(server: RunningServer, name: str, **labels: str) -> float:
    """A metric's value, summed over labels that are not given."""
    return scrape(server.process.metrics_url).sum(f"sightline_{name}", **labels)


async def until_all_serve(server: RunningServer) -> None:
    """Returns when as many workers serve as are wanted and the engine answers all of them."""
    async with asyncio.timeout(IDLE_WITHIN_S):
        while True:
            now = await asyncio.to_thread(scrape, server.process.metrics_url)
            if now.sum("sightline_workers") == now.sum("sightline_workers_wanted") and now.sum(
                "sightline_engine_ready"
            ):
                return
            await asyncio.sleep(0.05)
