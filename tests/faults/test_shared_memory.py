"""`/dev/shm` is full: tensors go over gRPC, or the caller gets UNAVAILABLE; the server is never killed by a SIGBUS.

The server gets its own `/dev/shm` in a user namespace (`unshare -rm`), which needs no root.
"""

import asyncio
import contextlib
import io
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from sightline_client.local_server import LocalServerError
from tests.support.lens import Failed
from tests.support.remote_triton import remote_triton
from tests.support.rest import REST_WITHIN_S, counted, good_answer, unharmed
from tests.support.small_shop import PHOTO, SmallShop, serving
from tests.support.world import RunningServer, World, asked, draw_photo, patient_search, refused, running

pytestmark = pytest.mark.engine
BACK_WITHIN_S = 30.0
COMMAND = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'


def own_shared_memory(size: str) -> list[str]:
    """The program that gives a server a `/dev/shm` of `size` and becomes it; skips where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1)")
    prefix = [unshare, "--user", "--map-root-user", "--mount", "/bin/sh", "-c", COMMAND, size]
    tried = subprocess.run([*prefix, "/bin/true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no user namespaces here: {tried.stderr.strip()}")
    return prefix


async def test_a_region_that_does_not_fit_leaves_tensors_on_grpc(shop: SmallShop, tmp_path: Path) -> None:
    prefix = own_shared_memory("512k")
    with ExitStack() as stack:
        triton = stack.enter_context(remote_triton(shop.repository))
        server = stack.enter_context(serving(shop, tmp_path / "log", "--triton-url", triton.url, prefix=prefix))
        async with unharmed(server):
            await good_answer(server)
        assert await counted(server, "triton_transport", transport="inline") == 2
        assert await counted(server, "triton_transport", transport="shm") == 0


async def test_the_default_size_of_containers_holds_the_default_models(world: World, tmp_path: Path) -> None:
    prefix = own_shared_memory("64m")
    with running(world, tmp_path / "log", prefix=prefix) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            photos = [asked(draw_jpeg(seed)) for seed in range(24)]
            answers = await asyncio.gather(*(patient_search(channel, photo) for photo in photos))
        assert all(answer.objects and not answer.failures for answer in answers)
        assert await counted(server, "engine_restarts_total") == 0
    assert "not answering" not in (tmp_path / "log").read_text()


def test_an_engine_that_does_not_fit_says_what_it_needs(shop: SmallShop, tmp_path: Path) -> None:
    prefix = own_shared_memory("40m")
    with pytest.raises(LocalServerError) as caught, serving(shop, tmp_path / "log", prefix=prefix):
        pass
    said = str(caught.value)
    assert "(exit code 2)" in said
    assert "/dev/shm has 40 of 40 MiB free and the engine needs 48" in said


async def test_shared_memory_that_fills_up_while_it_runs(shop: SmallShop, tmp_path: Path) -> None:
    with serving(shop, tmp_path / "log", prefix=own_shared_memory("200m")) as server:
        await good_answer(server)
        assert await counted(server, "triton_transport", transport="shm") == 2
        filler = Path(f"/proc/{server.pid}/root/dev/shm/filler")
        await asyncio.to_thread(fill, filler)
        # What is mapped is reserved: calls go on as before.
        await good_answer(server)
        os.kill(server.children()["tritonserver"][0].pid, signal.SIGKILL)
        async with grpc.aio.insecure_channel(server.target) as channel:
            error = await refused_soon(channel)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")
            assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
        filler.unlink()  # noqa: ASYNC240
        await until_ready(server)
        async with unharmed(server):
            await good_answer(server)


def fill(path: Path) -> None:
    """Writes until nothing more fits."""
    with path.open("wb", buffering=0) as file:
        for piece in (bytes(1 << 20), bytes(4096)):
            with contextlib.suppress(OSError):
                while file.write(piece) == len(piece):
                    pass


async def refused_soon(channel: grpc.aio.Channel) -> Failed:
    """The first refusal; a call may still be answered before the engine's end is known."""
    async with asyncio.timeout(REST_WITHIN_S):
        while True:
            with contextlib.suppress(AssertionError):
                return await refused(channel, asked(PHOTO))


async def until_ready(server: RunningServer) -> None:
    """Returns when the engine answers again; its restarts come at growing distances."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while not await counted(server, "engine_ready"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def draw_jpeg(seed: int) -> bytes:
    """A photo with products of the shop, encoded."""
    encoded = io.BytesIO()
    draw_photo(seed).save(encoded, "JPEG")
    return encoded.getvalue()
