"""The engine with the real tritonserver under faults: what is killed or frozen comes back, and callers never hang."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
import pytest_asyncio

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions
from sightline_server.triton.config import EngineConfig
from sightline_server.triton.engine import TritonEngine, make_engine
from sightline_server.triton.hosts import EmbeddedHost
from sightline_server.triton.install import install
from sightline_server.triton.process import Ports, TritonProcess, free_ports
from tests.support.engine import CHECKOUT, embedded_config, sightline_home, tiny_repository, wait_until_it_listens
from tests.support.tiny_models import EMBEDDER_SIZE, build_repository, expected_embeddings

__all__ = ["tiny_repository"]

BACK_WITHIN_S = 30.0
CALL_S = 4.0
CROPS = np.random.default_rng(7).integers(0, 256, (3, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
FRAMES = np.random.default_rng(8).integers(0, 256, (2, 64, 64, 3), np.uint8)


@dataclass
class Events:
    """What the telemetry would hear."""

    mends: list[str] = field(default_factory=list)
    providers: dict[str, str] = field(default_factory=dict)

    def restarted(self, kind: str, /) -> None:
        self.mends.append(kind)

    def transport(self, model: str, name: str, /) -> None:
        pass

    def provider(self, model: str, name: str, /) -> None:
        self.providers[model] = name


class Readiness:
    """Lets a test wait for the engine's readiness to change."""

    def __init__(self, engine: TritonEngine) -> None:
        self.seen: list[bool] = []
        self._changed = asyncio.Event()
        engine.on_change(self._note)

    def _note(self, ready: bool) -> None:
        self.seen.append(ready)
        self._changed.set()

    async def until(self, *wanted: bool) -> None:
        """Returns when the changes so far are `wanted`, or begin with it."""
        async with asyncio.timeout(BACK_WITHIN_S):
            while self.seen[: len(wanted)] != list(wanted):
                self._changed.clear()
                await self._changed.wait()


@dataclass
class Embedded:
    """A running embedded engine of a test's own."""

    engine: TritonEngine
    host: EmbeddedHost
    events: Events
    readiness: Readiness

    def stub(self, model: str) -> int:
        """The process that runs `model`."""
        return next(stub.pid for stub in self.host.stubs if stub.model == model)


@pytest_asyncio.fixture
async def embedded(tiny_repository: Path) -> AsyncIterator[Embedded]:
    events = Events()
    config = embedded_config(tiny_repository, probe_interval_s=0.2, probe_timeout_s=3.0, reload_timeout_s=15.0)
    engine = make_engine(config, events)
    readiness = Readiness(engine)
    await engine.start()
    readiness.seen.clear()
    assert isinstance(engine.host, EmbeddedHost)
    yield Embedded(engine, engine.host, events, readiness)
    await engine.stop()
    assert regions.listed(regions.own_prefix()) == []


async def embed(engine: TritonEngine, seconds: float = CALL_S) -> None:
    """One good answer of the embedder."""
    answer = await engine.runner("embedder").infer(list(CROPS), deadline=time.monotonic() + seconds)
    np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(CROPS), atol=1e-6)


async def embed_until_it_fails(engine: TritonEngine) -> None:
    """Calls the embedder until a call fails."""
    while True:
        await embed(engine)


async def both(engine: TritonEngine) -> None:
    """One good answer of each model."""
    await embed(engine)
    answer = await engine.runner("detector").infer(list(FRAMES), deadline=time.monotonic() + CALL_S)
    assert answer["SCORES"].shape == (2, 8)


async def failures_until_ready(embedded: Embedded) -> list[SightlineError]:
    """Calls both models until the engine has been down and is back; every call ends within its deadline."""
    found: list[SightlineError] = []
    back = asyncio.create_task(embedded.readiness.until(False, True))
    while not back.done():
        began = time.monotonic()
        try:
            await both(embedded.engine)
        except SightlineError as error:
            found.append(error)
            # A refusal comes at once; the engine needs the time more than this loop does.
            await asyncio.wait([back], timeout=0.05)
        assert time.monotonic() - began < 2 * CALL_S + 1
    await back
    return found


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
async def test_a_killed_stub_is_loaded_again(embedded: Embedded, model: str) -> None:
    server, before = embedded.host.pid, embedded.stub(model)
    os.kill(before, signal.SIGKILL)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.stub(model) != before
    assert embedded.host.pid == server
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE}
    assert embedded.events.mends == ["reload"]


async def test_a_dead_stub_is_noticed_without_any_call(embedded: Embedded) -> None:
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    await both(embedded.engine)


async def test_the_first_failed_call_turns_readiness_off(tiny_repository: Path) -> None:
    engine = make_engine(embedded_config(tiny_repository, probe_interval_s=60.0))
    readiness = Readiness(engine)
    await engine.start()
    try:
        assert isinstance(engine.host, EmbeddedHost)
        os.kill(engine.host.pid, signal.SIGKILL)
        with pytest.raises(SightlineError) as caught:
            await embed_until_it_fails(engine)
        assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        assert not engine.ready
        await readiness.until(True, False, True)
        await both(engine)
    finally:
        await engine.stop()


async def test_a_frozen_tritonserver_is_replaced(embedded: Embedded) -> None:
    before = embedded.host.pid
    os.kill(before, signal.SIGSTOP)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.host.pid != before
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE, ErrorKind.DEADLINE_EXCEEDED}


async def test_a_frozen_stub_is_replaced(embedded: Embedded) -> None:
    before = embedded.stub("embedder")
    os.kill(before, signal.SIGSTOP)
    failures = await failures_until_ready(embedded)
    await both(embedded.engine)
    assert embedded.stub("embedder") != before
    assert {error.kind for error in failures} <= {ErrorKind.ENGINE_UNAVAILABLE, ErrorKind.DEADLINE_EXCEEDED}


async def test_what_waits_in_triton_past_its_deadline_is_not_run(tiny_repository: Path) -> None:
    from tests.integration.test_engine import counters

    engine = make_engine(embedded_config(tiny_repository, probe_interval_s=60.0))
    await engine.start()
    try:
        assert isinstance(engine.host, EmbeddedHost)
        stub = next(stub.pid for stub in engine.host.stubs if stub.model == "embedder")
        before = counters(engine.metrics_url, "embedder")["nv_inference_count"]
        os.kill(stub, signal.SIGSTOP)
        runner = engine.runner("embedder")
        # The first call occupies the stub, the second waits behind it until its time is over.
        first = asyncio.create_task(runner.infer(list(CROPS), deadline=None))
        await asyncio.wait([first], timeout=0.3)
        with pytest.raises(SightlineError) as caught:
            await runner.infer(list(CROPS), deadline=time.monotonic() + 0.3)
        assert caught.value.kind is ErrorKind.DEADLINE_EXCEEDED
        os.kill(stub, signal.SIGCONT)
        await first
        await embed(engine)
        # The first and the last, and perhaps already the picture with which the watch looks after a missed deadline.
        run = counters(engine.metrics_url, "embedder")["nv_inference_count"] - before
        assert 2 * len(CROPS) <= run <= 2 * len(CROPS) + 1
    finally:
        await engine.stop()


async def test_a_caller_who_leaves_does_not_free_the_memory_of_his_call(tiny_repository: Path) -> None:
    engine = make_engine(embedded_config(tiny_repository, probe_interval_s=60.0))
    await engine.start()
    try:
        assert isinstance(engine.host, EmbeddedHost)
        stub = next(stub.pid for stub in engine.host.stubs if stub.model == "embedder")
        os.kill(stub, signal.SIGSTOP)
        left = asyncio.create_task(engine.runner("embedder").infer(list(CROPS), deadline=None))
        done, _ = await asyncio.wait([left], timeout=0.3)
        assert not done
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        others = [asyncio.create_task(embed(engine)) for _ in range(4)]
        await asyncio.wait(others, timeout=0.3)
        os.kill(stub, signal.SIGCONT)
        await asyncio.gather(*others)
    finally:
        await engine.stop()


async def test_an_engine_that_comes_back_with_another_model_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = asyncio.Event()
    log = logging.getLogger("sightline.engine")
    listener = logging.Handler()
    monkeypatch.setattr(listener, "emit", lambda record: "another embedder" in record.getMessage() and said.set())
    monkeypatch.setattr(log, "handlers", [listener])
    repository = build_repository(tmp_path)
    model = repository / "embedder" / "1" / "model.onnx"
    first = model.read_bytes()
    engine = make_engine(embedded_config(repository, probe_interval_s=0.2, restart_backoff_s=(0.0,)))
    readiness = Readiness(engine)
    await engine.start()
    try:
        assert isinstance(engine.host, EmbeddedHost)
        changed = onnx.load_from_string(first)
        changed.doc_string = "not the one that the catalog was built with"
        model.write_bytes(changed.SerializeToString())
        os.kill(engine.host.pid, signal.SIGKILL)
        await readiness.until(True, False)
        async with asyncio.timeout(BACK_WITHIN_S):
            await said.wait()
        assert not engine.ready
        with pytest.raises(SightlineError) as caught:
            await embed(engine)
        assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        model.write_bytes(first)
        await readiness.until(True, False, True)
        await both(engine)
    finally:
        await engine.stop()


async def test_a_killed_reaper_is_replaced(embedded: Embedded) -> None:
    for reaper in children(os.getpid(), "reaper.py"):
        os.kill(reaper, signal.SIGKILL)
    os.kill(embedded.stub("embedder"), signal.SIGKILL)
    await embedded.readiness.until(False, True)
    assert len(children(os.getpid(), "reaper.py")) == 1


async def test_orphans_of_dead_servers_are_removed_and_no_others(tiny_repository: Path) -> None:
    dead = subprocess.Popen(["true"])  # noqa: ASYNC220 (it ends at once)
    dead_prefix = regions.prefix_of(dead.pid, regions.start_time(dead.pid) or "1")
    dead.wait()
    reused = regions.prefix_of(os.getpid(), "1")
    orphans = [regions.FOLDER / f"{prefix}c0" for prefix in (dead_prefix, reused)]
    mine = regions.FOLDER / f"{regions.own_prefix()}kept"
    for path in (*orphans, mine):
        path.write_bytes(b"pixels")
    engine = make_engine(embedded_config(tiny_repository))
    try:
        await engine.start()
        assert [path for path in orphans if path.exists()] == []
        assert mine.exists()
    finally:
        await engine.stop()
        mine.unlink(missing_ok=True)


SERVER = """
import asyncio, sys
from pathlib import Path
from sightline_server.triton.config import EngineConfig
from sightline_server.triton.engine import make_engine
import numpy as np

async def main():
    engine = make_engine(EngineConfig(home=Path(sys.argv[1]), repository=Path(sys.argv[2])))
    await engine.start()
    crops = [np.zeros((32, 32, 3), np.uint8)] * 2
    await engine.runner("embedder").infer(crops, deadline=None)
    print(engine.host.pid, *(stub.pid for stub in engine.host.stubs), flush=True)
    while True:
        await engine.runner("embedder").infer(crops, deadline=None)

asyncio.run(main())
"""


async def test_a_killed_server_leaves_no_process_and_no_memory(tiny_repository: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(CHECKOUT / "server"))
    config = embedded_config(tiny_repository)
    server = subprocess.Popen(  # noqa: ASYNC220 (a process to be killed)
        [sys.executable, "-c", SERVER, str(config.home), str(config.repository)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert server.stdout is not None
    with server.stdout:
        line = await asyncio.to_thread(server.stdout.readline)
        engine_pids = [int(word) for word in line.split()]
        assert len(engine_pids) == 3
        prefix = regions.prefix_of(server.pid, regions.start_time(server.pid))
        reapers = children(server.pid, "reaper.py")
        assert len(reapers) == 1
        server.kill()
        server.wait()
    await asyncio.to_thread(wait_until_gone, [*engine_pids, *reapers], prefix, 10.0)


async def test_a_port_that_is_taken_makes_it_choose_another(tiny_repository: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        engine = make_engine(embedded_config(tiny_repository))
        assert isinstance(engine.host, EmbeddedHost)
        engine.host._ports = Ports(other.getsockname()[1], free_ports().metrics)
        try:
            await engine.start()
            assert engine.address != f"127.0.0.1:{other.getsockname()[1]}"
            await both(engine)
        finally:
            await engine.stop()


@dataclass
class Restartable:
    """A tritonserver at a fixed address that a test can end and start again."""

    ports: Ports
    repository: Path
    process: TritonProcess | None = None

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.ports.grpc}"

    def start(self) -> None:
        installation = install(sightline_home(), progress=lambda text: None)
        prefix = f"{regions.own_prefix()}remote-"
        self.process = TritonProcess(installation, self.repository, ("detector", "embedder"), self.ports, prefix)
        self.process.start()
        wait_until_it_listens(self.process)

    def end(self) -> None:
        if self.process:
            self.process.end(0)
            self.process = None


@pytest.fixture
def elsewhere(tiny_repository: Path) -> Iterator[Restartable]:
    triton = Restartable(free_ports(), tiny_repository)
    triton.start()
    yield triton
    triton.end()


async def test_a_remote_triton_may_go_and_come_back(elsewhere: Restartable) -> None:
    config = EngineConfig(
        sightline_home(),
        elsewhere.repository,
        elsewhere.url,
        probe_interval_s=0.2,
        probe_timeout_s=1.0,
        restart_backoff_s=(0.2,),
    )
    engine = make_engine(config)
    readiness = Readiness(engine)
    await engine.start()
    try:
        assert set(engine.transports.values()) == {"shm"}
        elsewhere.end()
        with pytest.raises(SightlineError) as caught:
            await embed(engine)
        assert caught.value.kind is ErrorKind.ENGINE_UNAVAILABLE
        elsewhere.start()
        await readiness.until(True, False, True)
        await both(engine)
    finally:
        await engine.stop()


async def test_regions_are_registered_anew_when_triton_was_replaced_unseen(elsewhere: Restartable) -> None:
    config = EngineConfig(sightline_home(), elsewhere.repository, elsewhere.url, probe_interval_s=60.0)
    engine = make_engine(config)
    readiness = Readiness(engine)
    await engine.start()
    try:
        await embed(engine)
        elsewhere.end()
        elsewhere.start()
        with contextlib.suppress(SightlineError):
            await embed(engine)
        await readiness.until(True, False, True)
        await both(engine)
        assert set(engine.transports.values()) == {"shm"}
    finally:
        await engine.stop()


def children(parent: int, word: str) -> list[int]:
    """Processes begun by `parent` whose command line holds `word`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := regions.stat_fields(int(entry.name))):
            with contextlib.suppress(OSError):
                if fields[1] == str(parent) and word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def wait_until_gone(pids: list[int], prefix: str, seconds: float) -> None:
    """Returns when no process of `pids` runs and no region begins with `prefix`."""
    deadline = time.monotonic() + seconds
    while True:
        alive = [pid for pid in pids if (fields := regions.stat_fields(pid)) and fields[0] not in "ZX"]
        left = regions.listed(prefix)
        if not alive and not left:
            return
        assert time.monotonic() < deadline, (alive, left)
        time.sleep(0.02)
