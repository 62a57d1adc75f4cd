"""SIGTERM to a real server: what it accepted it finishes, what comes later is told so, and nothing of it stays."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from load_tests.processes import below, living, shared_files
from sightline.v1 import lens_service_pb2_grpc
from tests.support.pictures import encode
from tests.support.world import World, asked, draw_photo, environment, running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
PHOTOS = [encode(draw_photo(seed), quality=92) for seed in range(4)]
GONE_WITHIN_S = 20.0
CALLERS = 4


async def call_until_refused(target: str, photo: bytes, ends: list[tuple[bool, str]]) -> None:
    """Sends the photo again and again; notes of each call whether it was accepted and how it ended."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = lens_service_pb2_grpc.LensServiceStub(channel)
        while not ends or ends[-1][1] != "UNAVAILABLE":
            accepted, code = False, "OK"
            try:
                async for event in stub.Search(asked(photo), timeout=30):
                    accepted |= event.WhichOneof("event") == "accepted"
            except grpc.aio.AioRpcError as error:
                code = error.code().name
            ends.append((accepted, code))


async def test_sigterm_under_load_loses_no_accepted_call(world: World, tmp_path: Path) -> None:
    with running(world, tmp_path / "server.log") as server:
        pid = server.pid
        processes = [process for found in below(pid).values() for process in found]
        every: list[list[tuple[bool, str]]] = [[] for _ in range(CALLERS)]
        callers = [
            asyncio.create_task(call_until_refused(server.target, photo, ends))
            for photo, ends in zip(PHOTOS, every, strict=True)
        ]
        await until(lambda: all(len(ends) > 3 for ends in every))
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        assert await asyncio.to_thread(server.process.wait, GONE_WITHIN_S) == 0
        for ends in every:
            assert [code for accepted, code in ends if accepted and code != "OK"] == []
            assert {code for _, code in ends} <= {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}
        assert living(processes) == []
        assert shared_files(pid) == []
    log = (tmp_path / "server.log").read_text()
    assert "stopped" in log
    assert "Traceback" not in log


async def until(holds: Callable[[], bool]) -> None:
    """Returns when `holds`; another process gives no event to wait for."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


def test_sigterm_while_it_starts_ends_it_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "sightline_server", "serve", "--catalog", str(world.catalog)]
    serve += ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    log = tmp_path / "server.log"
    with log.open("wb") as output, subprocess.Popen(serve, stdout=output, stderr=output, env=environment()) as server:
        try:
            deadline = time.monotonic() + 60
            while not below(server.pid)["tritonserver"]:
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            processes = [process for found in below(server.pid).values() for process in found]
            server.send_signal(signal.SIGTERM)
            assert server.wait(GONE_WITHIN_S) == 0
        finally:
            server.kill()
    assert living(processes) == []
    assert shared_files(server.pid) == []
    assert "Traceback" not in log.read_text()
