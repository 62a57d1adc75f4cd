"""SIGTERM to a real server: accepted calls finish, later ones are refused, and nothing of it stays."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
import pytest

from load_tests.observe.processes import below, living, shared_files
from sightline.v1 import lens_service_pb2_grpc
from tests.support.rest import counted, until_inside
from tests.support.small_shop import PHOTO, SmallShop, paused_engine, serve_command, serving
from tests.support.world import RunningServer, asked

pytestmark = pytest.mark.engine
GONE_WITHIN_S = 20.0
AT_ONCE_S = 3.0
CALLERS = 4
PATIENT = {"SIGHTLINE_ENGINE__PROBE_TIMEOUT_S": "20", "SIGHTLINE_LIMITS__TARGET_FIRST_RESULT_S": "20"}


@dataclass
class Ends:
    """The ends of calls: whether each had been accepted, and its code."""

    every: list[tuple[bool, str]] = field(default_factory=list)

    @property
    def accepted(self) -> set[str]:
        """Codes of the calls that had been accepted."""
        return {code for accepted, code in self.every if accepted}

    @property
    def refused(self) -> set[str]:
        """Codes of the others."""
        return {code for accepted, code in self.every if not accepted}


async def call(target: str, ends: Ends) -> str:
    """One call on a separate connection; its code."""
    accepted, code = False, "OK"
    async with grpc.aio.insecure_channel(target) as channel:
        try:
            async for event in lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(PHOTO), timeout=15):
                accepted |= event.WhichOneof("event") == "accepted"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
    ends.every.append((accepted, code))
    return code


async def call_until_refused(target: str, ends: Ends) -> None:
    """Calls again and again until the server is gone or says that it goes."""
    while await call(target, ends) != "UNAVAILABLE":
        pass


@asynccontextmanager
async def stopped(server: RunningServer, log: Path) -> AsyncIterator[None]:
    """The block makes the server stop: it ends in order and leaves nothing."""
    processes: list[psutil.Process] = [process for found in below(server.pid).values() for process in found]
    yield
    assert await asyncio.to_thread(server.process.wait, GONE_WITHIN_S) == 0
    assert living(processes) == []
    assert shared_files(server.pid) == []
    said = await asyncio.to_thread(log.read_text)
    assert "stopped" in said
    assert "Traceback" not in said


async def test_sigterm_under_load_loses_no_accepted_call(shop: SmallShop, tmp_path: Path) -> None:
    log, ends, held = tmp_path / "server.log", Ends(), Ends()
    with serving(shop, log, **PATIENT) as server:
        async with stopped(server, log):
            busy = [asyncio.create_task(call_until_refused(server.target, ends)) for _ in range(CALLERS)]
            await until_counted(server, 20)
            with paused_engine(server):
                inside = [asyncio.create_task(call(server.target, held)) for _ in range(2)]
                # All calls have been accepted now, wait for the engine, and stay there when the signal comes.
                await until_inside(server, CALLERS + 2)
                server.process.send_signal(signal.SIGTERM)
                # It ends nothing, before and after it is known that the server stops.
                server.process.send_signal(signal.SIGHUP)
                assert await call(server.target, ends) == "UNAVAILABLE"
                server.process.send_signal(signal.SIGHUP)
            await asyncio.gather(*busy, *inside)
    assert held.accepted == {"OK"}
    assert ends.accepted == {"OK"}
    # What no handler has taken when gRPC stops, gRPC ends as CANCELLED (grpc/grpc#41785); our client makes it again.
    assert ends.refused <= {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"}


async def until_counted(server: RunningServer, calls: int) -> None:
    """Returns when so many calls have been served."""
    while await counted(server, "requests_total", code="OK") < calls:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def test_a_second_sigterm_does_not_wait_and_tells_those_inside(shop: SmallShop, tmp_path: Path) -> None:
    log, held = tmp_path / "server.log", Ends()
    with serving(shop, log, **PATIENT) as server:
        async with stopped(server, log):
            with paused_engine(server):
                inside = [asyncio.create_task(call(server.target, held)) for _ in range(CALLERS)]
                await until_inside(server, CALLERS)
                server.process.send_signal(signal.SIGTERM)
                assert await call(server.target, Ends()) == "UNAVAILABLE"
                began = time.monotonic()
                server.process.send_signal(signal.SIGTERM)
                await asyncio.gather(*inside)
                assert time.monotonic() - began < AT_ONCE_S
    assert held.every == [(True, "UNAVAILABLE")] * CALLERS


def test_sigterm_while_it_starts_ends_it_and_leaves_nothing(shop: SmallShop, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(serve_command(shop), stdout=output, stderr=output, env=shop.variables()) as server,
    ):
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
