"""Faults of a server with workers: one of them killed, the engine killed, stops under load, and the parent killed."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from load_tests.observe.processes import below, living, shared_files
from sightline_server.triton.client import TritonClient
from tests.support.crew import Caller, callers, until_all_serve, value, worker_of, workers_of
from tests.support.small_shop import PHOTO, SLOW, SmallShop, photo_of, serving
from tests.support.world import RunningServer

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]
CONNECTIONS = 16
"""So many that the kernel gives both workers some, but for one time in 30,000."""
CALLERS = 3
"""Of each worker."""
PATIENT = {"SIGHTLINE_LIMITS__TARGET_FIRST_RESULT_S": "20"}
"""So that none is refused when one worker, on a busy machine, has the callers of both."""
UNWATCHED = {"SIGHTLINE_ENGINE__PROBE_INTERVAL_S": "60"}
"""So that the engine can be paused for as long as a test takes: nothing probes it meanwhile."""
GONE_WITHIN_S = 25.0
WITHIN_S = 40.0


@pytest.fixture(scope="module")
def crew(shop: SmallShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with two workers that tests harm, one after the other; it recovers by itself."""
    with serving(shop, tmp_path_factory.mktemp("crew") / "server.log", "--workers", "2", **PATIENT) as made:
        asyncio.run(until_all_serve(made))
        yield made


@pytest.fixture
def mortal(shop: SmallShop, tmp_path: Path) -> Iterator[RunningServer]:
    """A server with two workers of a test's own, which ends it."""
    with serving(shop, tmp_path / "server.log", "--workers", "2", **PATIENT) as made:
        asyncio.run(until_all_serve(made))
        yield made


@pytest.fixture
def unwatched(shop: SmallShop, tmp_path: Path) -> Iterator[RunningServer]:
    """As `mortal`, but nothing probes its engine."""
    with serving(shop, tmp_path / "server.log", "--workers", "2", **PATIENT, **UNWATCHED) as made:
        asyncio.run(until_all_serve(made))
        yield made


@asynccontextmanager
async def both(server: RunningServer) -> AsyncIterator[dict[int, list[Caller]]]:
    """Callers by the worker that they are connected to; each has made one call."""
    async with callers(server, CONNECTIONS) as made:
        found: dict[int, list[Caller]] = {1: [], 2: []}
        for caller in made:
            assert (await caller.call(PHOTO)).code == "OK"
            found[worker_of(server, caller.calls[0])].append(caller)
        assert all(found.values()), "the kernel gave every connection to one worker"
        yield {number: each[:CALLERS] for number, each in found.items()}


def process_of(server: RunningServer, number: int) -> psutil.Process:
    """The process that serves as worker `number`, as the log says."""
    pids = re.findall(rf"worker {number} serves, process (\d+)", server.log.read_text())
    return psutil.Process(int(pids[-1]))


async def registered(server: RunningServer, pid: int) -> list[str]:
    """The regions of process `pid` that Triton maps."""
    (address,) = set(re.findall(r"gRPC on (unix:\S+)", server.log.read_text()))
    client = TritonClient(address)
    try:
        return [name for name in await client.registered(5.0) if name.startswith(f"sightline-{pid}-")]
    finally:
        await client.close()


async def test_a_killed_worker_harms_nobody_elses_calls_and_leaves_nothing(crew: RunningServer) -> None:
    before = value(crew, "requests_total", code="OK")
    over = asyncio.Event()
    async with both(crew) as by_worker:
        made = by_worker[1] + by_worker[2]
        victim = process_of(crew, 1)
        assert await registered(crew, victim.pid)
        calling = [asyncio.create_task(caller.call_on(PHOTO, over)) for caller in made]
        await until(lambda: all(len(caller.calls) > 3 for caller in made))
        victim.kill()
        await until(lambda: any(call.code != "OK" for caller in by_worker[1] for call in caller.calls))
        await until_all_serve(crew)
        counts = [len(caller.calls) for caller in made]
        await until(lambda: all(len(each.calls) > count + 1 for each, count in zip(made, counts, strict=True)))
        over.set()
        await asyncio.gather(*calling)
    assert {call.code for caller in by_worker[2] for call in caller.calls} == {"OK"}
    assert {call.code for caller in by_worker[1] for call in caller.calls} == {"OK", "UNAVAILABLE"}
    assert all(caller.calls[-1].code == "OK" for caller in made)
    assert value(crew, "worker_restarts_total") == 1
    assert value(crew, "in_flight") == 0
    assert value(crew, "requests_total", code="OK") > before + 3 * len(made), (
        "what the dead worker counted still counts"
    )
    # Triton keeps a region for as long as a call reads it, and is asked again after that.
    async with asyncio.timeout(WITHIN_S):
        while await registered(crew, victim.pid):  # noqa: ASYNC110 (Triton has no event for it)
            await asyncio.sleep(0.1)
    assert shared_files(victim.pid) == []


async def test_the_engine_killed_is_felt_by_every_worker_and_mended_once(crew: RunningServer) -> None:
    mends = value(crew, "engine_restarts_total")
    async with both(crew) as by_worker:
        made = by_worker[1] + by_worker[2]
        crew.children()["tritonserver"][0].kill()
        await until(lambda: value(crew, "engine_ready") == 0)
        await until_all_serve(crew)
        for caller in made:
            assert (await caller.call(PHOTO)).code == "OK"
    assert value(crew, "engine_restarts_total") == mends + 1
    assert {call.code for caller in made for call in caller.calls} == {"OK"}


async def test_what_a_worker_hears_of_the_engine_its_parent_mends(crew: RunningServer) -> None:
    mends = value(crew, "engine_restarts_total", kind="restart")
    parent, stub = psutil.Process(crew.pid), crew.children()["detector"][0]
    async with callers(crew, 1) as (caller,):
        # The parent does not see that the stub is stopped, and when it probes again, the stub runs.
        parent.suspend()
        try:
            stub.suspend()
            call = await caller.call(PHOTO)
        finally:
            stub.resume()
            parent.resume()
        assert call.code == "UNAVAILABLE"
        await until(lambda: value(crew, "engine_restarts_total", kind="restart") > mends)
        await until_all_serve(crew)
        assert (await caller.call(PHOTO)).code == "OK"
    lines = [line for line in crew.log.read_text().splitlines() if "Triton marked detector" in line]
    assert [line for line in lines if "worker=" not in line], "the parent was notified"


async def test_a_worker_that_an_operator_ends_finishes_its_calls_and_is_replaced(crew: RunningServer) -> None:
    async with both(crew) as by_worker:
        calling = [asyncio.create_task(caller.call(photo_of(SLOW))) for caller in by_worker[2][:2]]
        await until(lambda: value(crew, "in_flight") == len(calling))
        victim = process_of(crew, 2)
        victim.terminate()
        # As a supervisor would that signals a whole group: once more is not "do not wait".
        victim.terminate()
        assert {call.code for call in await asyncio.gather(*calling)} == {"OK"}
        await until(lambda: not living([victim]))
    await until_all_serve(crew)
    assert shared_files(victim.pid) == []


async def test_sigterm_under_load_loses_no_accepted_call(mortal: RunningServer) -> None:
    processes = [process for found in below(mortal.pid).values() for process in found]
    over = asyncio.Event()
    async with both(mortal) as by_worker:
        made = by_worker[1] + by_worker[2]
        calling = [asyncio.create_task(caller.call_on(PHOTO, over)) for caller in made]
        await until(lambda: all(len(caller.calls) > 4 for caller in made))
        mortal.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(mortal.process.wait, GONE_WITHIN_S) == 0
        over.set()
        await asyncio.gather(*calling)
    calls = [call for caller in made for call in caller.calls]
    assert [call for call in calls if call.lost] == []
    # What no handler has taken when gRPC stops, gRPC ends as CANCELLED (grpc/grpc#41785); our client makes it again.
    assert {call.code for call in calls} <= {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"}
    assert living(processes) == []


async def test_a_second_sigterm_does_not_wait(unwatched: RunningServer) -> None:
    processes = [process for found in below(unwatched.pid).values() for process in found]
    async with callers(unwatched, 2) as made:
        # The whole engine: Triton itself gives a stopped stub up after a second, and the calls would end.
        unwatched.children()["tritonserver"][0].suspend()
        calling = [asyncio.create_task(caller.call(PHOTO)) for caller in made]
        await until(lambda: value(unwatched, "in_flight") == len(calling))
        unwatched.process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in unwatched.log.read_text())
        began = time.monotonic()
        unwatched.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(unwatched.process.wait, GONE_WITHIN_S) == 0
        # The grace is 20 s; what remains is the engine's own end.
        assert time.monotonic() - began < 12
        assert {call.code for call in await asyncio.gather(*calling)} == {"UNAVAILABLE"}
    assert living(processes) == []


async def test_nothing_outlives_a_killed_parent(mortal: RunningServer) -> None:
    workers = workers_of(mortal)
    processes = [process for found in below(mortal.pid).values() for process in found]
    psutil.Process(mortal.pid).kill()
    await until(lambda: living(processes) == [])
    await until(lambda: shared_files(mortal.pid) == [])
    assert [name for worker in workers for name in shared_files(worker.pid)] == []


async def until(holds: Callable[[], bool]) -> None:
    """Returns when `holds`; another process gives no event to wait for."""
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
