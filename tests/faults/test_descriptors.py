"""No file descriptors left: open calls continue, new ones wait, and they are accepted when others end."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import psutil
import pytest

from tests.support.rest import REST_WITHIN_S, good_answer, unharmed
from tests.support.small_shop import PHOTO, SmallShop, serve_command
from tests.support.world import RunningServer, asked, search

pytestmark = pytest.mark.engine
ROOM = 10
CONNECTIONS = 60


@contextmanager
def little_room(server: RunningServer) -> Iterator[None]:
    """The server may open few more descriptors than it has, for the length of the block."""
    process = psutil.Process(server.pid)
    usual = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + ROOM, usual[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, usual)


async def test_many_connections_harm_no_call_that_stands(shop_server: RunningServer) -> None:
    host, _, port = shop_server.target.rpartition(":")
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        await search(channel, asked(PHOTO, max_products=1))
        with little_room(shop_server):
            with ExitStack() as crowd:
                for _ in range(CONNECTIONS):
                    crowd.enter_context(socket.create_connection((host, int(port))))
                await asyncio.sleep(0.5)
                process = psutil.Process(shop_server.pid)
                before = process.cpu_times()
                for _ in range(3):
                    answer = await search(channel, asked(PHOTO, max_products=1))
                    assert answer.failures == {}
                await asyncio.sleep(1.0)
                # Waiting for a descriptor takes no processor.
                assert process.cpu_times().user - before.user < 0.7
            async with asyncio.timeout(REST_WITHIN_S):
                await good_answer(shop_server)


@pytest.mark.parametrize("descriptors", [16, 40])
def test_a_server_with_hopelessly_few_says_so_and_ends(shop: SmallShop, descriptors: int) -> None:
    command = ["/bin/sh", "-c", 'ulimit -n "$0"; exec "$@"', str(descriptors), *serve_command(shop)]
    ended = subprocess.run(command, capture_output=True, text=True, env=shop.variables(), timeout=40)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 2
    assert f"only {descriptors} file descriptors are allowed" in said
    assert "Traceback" not in said
