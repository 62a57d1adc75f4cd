"""Photos that need more memory than there is, or claim to: an error for that call, and the server lives on."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from PIL import Image

from tests.support.pictures import png_header
from tests.support.rest import good_answer, unharmed
from tests.support.world import RunningServer, asked, refused

pytestmark = pytest.mark.engine
ROOM = 50 << 20
LARGE = (5000, 5000)
"""25 megapixels, the most that the server itself decodes: 75 MB in a file of 400 kB."""
BOMB_COSTS = 30 << 20


@contextmanager
def little_memory(server: RunningServer) -> Iterator[None]:
    """The server may map little more memory than it has, for the length of the block."""
    process = psutil.Process(server.pid)
    usual = process.rlimit(psutil.RLIMIT_AS)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + ROOM, usual[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_AS, usual)


async def test_a_photo_that_does_not_fit_into_memory_is_refused_and_nothing_else(shop_server: RunningServer) -> None:
    file = io.BytesIO()
    Image.new("RGB", LARGE, (120, 90, 60)).save(file, "JPEG")
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        with little_memory(shop_server):
            for _ in range(2):
                error = await refused(channel, asked(file.getvalue()))
                assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
                assert error.message == "the photo needs too much memory"
                await good_answer(shop_server)


async def test_a_photo_that_claims_to_be_huge_costs_nothing(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        Path(f"/proc/{shop_server.pid}/clear_refs").write_text("5")  # noqa: ASYNC240 (forgets the highest RSS so far)
        before = highest_rss(shop_server.pid)
        for _ in range(10):
            error = await refused(channel, asked(png_header(60_000, 60_000)))
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
        assert highest_rss(shop_server.pid) < before + BOMB_COSTS


def highest_rss(pid: int) -> int:
    """The most memory in bytes that the process has held."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10
