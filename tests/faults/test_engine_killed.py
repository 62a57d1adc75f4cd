"""Parts of the engine are killed: each comes back, callers hear UNAVAILABLE with a time to retry, and nobody hangs."""

import os
import signal

import psutil
import pytest

from sightline_server.errors import ErrorKind
from tests.support.embedded import (
    Embedded,
    both,
    embedded,
    failures_until_ready,
    shared_engine,
    tiny_repository,
)

__all__ = ["embedded", "shared_engine", "tiny_repository"]
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


async def test_an_idle_stub_that_is_killed_is_noticed_without_any_call_and_loaded_again(embedded: Embedded) -> None:
    server = psutil.Process(embedded.host.pid)
    threads = server.num_threads()
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    await both(embedded.engine)
    assert embedded.events.mends == ["reload"]
    assert embedded.host.pid == server.pid
    assert server.num_threads() <= threads + 2


async def test_a_killed_reaper_is_replaced(embedded: Embedded) -> None:
    for reaper in reapers():
        reaper.kill()
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    assert len(reapers()) == 1


def reapers() -> list[psutil.Process]:
    """The reapers that this process runs; one that was killed and not yet noticed has no command line any more."""
    return [child for child in psutil.Process().children() if any("reaper.py" in word for word in child.cmdline())]
