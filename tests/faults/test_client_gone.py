"""Clients that are gone in the middle of a call: the server lets go of it at once, not when the engine answers."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from sightline.v1 import lens_service_pb2_grpc
from tests.support.engine import CHECKOUT
from tests.support.rest import counted, unharmed, until_inside
from tests.support.small_shop import PHOTO, paused_engine
from tests.support.world import RunningServer, asked

pytestmark = pytest.mark.engine
CALLS = 3
CLIENT = """
import asyncio, sys, grpc
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc

async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        request = lens_service_pb2.SearchRequest(photo=sys.stdin.buffer.read())
        stub = lens_service_pb2_grpc.LensServiceStub(channel)
        calls = [stub.Search(request, timeout=30) for _ in range(int(sys.argv[2]))]
        for call in calls:
            await call.read()
        print("accepted", flush=True)
        await asyncio.gather(*(call.read() for call in calls))

asyncio.run(main())
"""


async def test_a_client_that_is_killed_frees_its_places_at_once(shop_server: RunningServer) -> None:
    async with unharmed(shop_server):
        left = await counted(shop_server, "requests_total", code="CANCELLED")
        with paused_engine(shop_server):
            client = await asyncio.to_thread(accepted_client, shop_server.target)
            await until_inside(shop_server, CALLS)
            client.send_signal(signal.SIGKILL)
            client.communicate()
            await until_inside(shop_server, 0)
        assert await counted(shop_server, "requests_total", code="CANCELLED") == left + CALLS


def accepted_client(target: str) -> subprocess.Popen[bytes]:
    """A client process whose calls have all been accepted."""
    command = [sys.executable, "-c", CLIENT, target, str(CALLS)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert client.stdin and client.stdout
    client.stdin.write(PHOTO)
    client.stdin.close()
    client.stdin = None
    assert client.stdout.readline() == b"accepted\n"
    return client


async def test_a_connection_that_is_torn_in_mid_stream_frees_its_place_at_once(shop_server: RunningServer) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(unharmed(shop_server))
        target, tear = await stack.enter_async_context(torn_later(shop_server.target))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target))
        stack.enter_context(paused_engine(shop_server))
        call: Any = lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(PHOTO), timeout=30)
        assert (await call.read()).WhichOneof("event") == "accepted"
        await until_inside(shop_server, 1)
        tear()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await until_inside(shop_server, 0)


@asynccontextmanager
async def torn_later(target: str) -> AsyncIterator[tuple[str, "Tear"]]:
    """The address of a way to `target`, and what resets every connection on it, on both sides."""
    host, _, port = target.rpartition(":")
    tear = Tear()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        tear.ends += [writer, onward_writer]
        await asyncio.gather(copy(reader, onward_writer), copy(onward_reader, writer))

    way = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{way.sockets[0].getsockname()[1]}", tear
    finally:
        tear()
        way.close()


class Tear:
    """Resets connections."""

    def __init__(self) -> None:
        self.ends: list[asyncio.StreamWriter] = []

    def __call__(self) -> None:
        while self.ends:
            self.ends.pop().transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hands on what comes until either side is gone."""
    try:
        while received := await reader.read(65536):
            writer.write(received)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()
