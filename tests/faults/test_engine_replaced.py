"""The engine comes back as another one: with other models, on another port, or from a restart that nobody saw."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest

from sightline_server.embedded import command
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.engine import TritonEngine
from tests.support.embedded import BACK_WITHIN_S, Readiness, both, embed, running_engine
from tests.support.engine import embedded_engine, remote_engine
from tests.support.remote_triton import RemoteTriton, remote_triton
from tests.support.tiny_models import build_repository

pytestmark = pytest.mark.engine


@pytest.fixture
def another_embedder(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the log says that the engine has another embedder."""
    said = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "another embedder" in record.getMessage():
                said.set()

    monkeypatch.setattr(logging.getLogger("sightline.engine"), "handlers", [Listener()])
    return said


async def test_an_engine_that_comes_back_with_another_model_is_not_taken(
    tmp_path: Path, another_embedder: asyncio.Event
) -> None:
    repository = build_repository(tmp_path)
    model = repository / "embedder" / "1" / "model.onnx"
    first = model.read_bytes()
    async with running_engine(repository, restart_backoff_s=(0.0,)) as running:
        changed = onnx.load_from_string(first)
        changed.doc_string = "not the one that the catalog was built with"
        model.write_bytes(changed.SerializeToString())
        os.kill(running.host.pid, signal.SIGKILL)
        await running.readiness.until(False)
        async with asyncio.timeout(BACK_WITHIN_S):
            await another_embedder.wait()
        assert not running.engine.ready
        with pytest.raises(SightlineError) as caught:
            await embed(running.engine)
        assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        model.write_bytes(first)
        await running.readiness.until(False, True)
        await both(running.engine)


async def test_a_metrics_port_that_is_taken_is_refused_at_the_start(tiny_repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        engine = embedded_engine(tiny_repository, metrics_port=taken)
        with pytest.raises(SightlineError, match=f"127.0.0.1:{taken} for the engine's metrics") as caught:
            await engine.start()
        assert caught.value.kind is ErrorKind.CONFIGURATION


async def test_a_metrics_port_that_is_taken_at_a_restart_is_given_up(tiny_repository: Path) -> None:
    async with running_engine(tiny_repository, metrics_port=0) as running:
        port = int(running.engine.metrics_url.rpartition(":")[2].partition("/")[0])
        os.kill(running.host.pid, signal.SIGKILL)
        while not command.is_free(port):  # noqa: ASYNC110 (the kernel has no event for it)
            await asyncio.sleep(0)
        with socket.create_server(("127.0.0.1", port)):
            await running.readiness.until(False, True)
            assert running.engine.metrics_url == ""
            await both(running.engine)


@pytest.fixture(scope="module")
def elsewhere(tiny_repository: Path) -> Iterator[RemoteTriton]:
    with remote_triton(tiny_repository) as triton:
        yield triton


@asynccontextmanager
async def engine_at(triton: RemoteTriton, **changes: Any) -> AsyncIterator[tuple[TritonEngine, Readiness]]:
    """An engine on `triton` for the length of the block."""
    engine = remote_engine(triton.url, **changes)
    readiness = Readiness(engine)
    try:
        await engine.start()
        readiness.seen.clear()
        yield engine, readiness
    finally:
        await engine.stop()


async def test_a_remote_triton_may_go_and_come_back(elsewhere: RemoteTriton) -> None:
    probes = {"probe_interval_s": 0.2, "probe_timeout_s": 1.0, "restart_backoff_s": (0.2,)}
    async with engine_at(elsewhere, **probes) as (engine, readiness):
        assert set(engine.transports.values()) == {"shm"}
        elsewhere.end()
        with pytest.raises(SightlineError) as caught:
            await embed(engine)
        assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        elsewhere.start()
        await readiness.until(False, True)
        await both(engine)


async def test_regions_are_registered_anew_when_triton_was_replaced_unseen(elsewhere: RemoteTriton) -> None:
    async with engine_at(elsewhere, probe_interval_s=60.0) as (engine, readiness):
        await embed(engine)
        elsewhere.end()
        elsewhere.start()
        with contextlib.suppress(SightlineError):
            await embed(engine)
        await readiness.until(False, True)
        await both(engine)
        assert set(engine.transports.values()) == {"shm"}
