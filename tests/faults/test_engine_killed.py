"""Parts of the engine are killed: each comes back, callers get UNAVAILABLE with a time to retry, and no call hangs."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from sightline_server.domain.models import DETECTOR
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.embedded import (
    BACK_WITHIN_S,
    Embedded,
    both,
    embedded,
    failures_until_ready,
    running_engine,
    shared_engine,
)
from tests.support.fault_models import build_fault_repository

__all__ = ["embedded", "shared_engine"]
pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


async def test_a_killed_tritonserver_comes_back(embedded: Embedded) -> None:
    before = embedded.host.pid
    os.kill(before, signal.SIGKILL)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.host.pid != before
    assert failures
    assert {error.kind for error in failures} == {ErrorKind.ENGINE_UNAVAILABLE}
    assert all(error.retry_after_s for error in failures)
    assert embedded.events.mends == ["restart"]
    assert set(embedded.engine.transports.values()) == {"shm"}
    assert embedded.events.providers == dict.fromkeys(("detector", "embedder"), "CPUExecutionProvider")


@pytest.mark.parametrize("model", ["detector", "embedder"])
async def test_a_stub_that_is_killed_under_load_comes_back(embedded: Embedded, model: str) -> None:
    before = embedded.stub(model)
    os.kill(before, signal.SIGKILL)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.stub(model) != before
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE}
    # Triton never ends unloading a model whose stub died at work; what would stay of it goes with a restart.
    assert embedded.events.mends in (["reload"], ["restart"])


async def test_a_stub_that_dies_between_the_call_and_its_answer_leaves_nobody_waiting(tmp_path: Path) -> None:
    slow = [np.full((64, 64, 3), (0, 255, 0), np.uint8)] * len(os.sched_getaffinity(0))
    async with running_engine(build_fault_repository(tmp_path)) as running:
        call = asyncio.create_task(
            running.engine.runner(DETECTOR).infer({"IMAGES": slow}, deadline=time.monotonic() + 60.0)
        )
        await asyncio.sleep(0.5)
        assert not call.done()
        began = time.monotonic()
        os.kill(running.stub("detector"), signal.SIGKILL)
        with pytest.raises(SightlineError) as failure:
            await call
        assert time.monotonic() - began < BACK_WITHIN_S
        assert failure.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        await running.readiness.until(False, True)
        await both(running.engine)


async def test_an_idle_stub_that_is_killed_is_noticed_without_any_call_and_loaded_again(embedded: Embedded) -> None:
    server = psutil.Process(embedded.host.pid)
    threads = server.num_threads()
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    await both(embedded.engine)
    assert embedded.events.mends == ["reload"]
    assert embedded.host.pid == server.pid
    assert server.num_threads() <= threads + 2
    # A model that came back shares the cores with the one that stayed.
    assert locked_files(embedded.stub("embedder")) == locked_files(embedded.stub("detector")) != set()


async def test_a_killed_reaper_is_replaced(embedded: Embedded) -> None:
    for reaper in reapers():
        reaper.kill()
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    assert len(reapers()) == 1


def locked_files(pid: int) -> set[int]:
    """The inodes of the files by which a model's process shares the cores."""
    opened = Path(f"/proc/{pid}/fd").iterdir()
    return {file.stat().st_ino for file in opened if "sightline-core" in os.readlink(file)}


def reapers() -> list[psutil.Process]:
    """The reapers that this process runs; one that was killed and not yet noticed has no command line any more."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any("reaper.py" in word for word in child.cmdline()):
                found.append(child)
    return found
