"""The parts of a serving process: when they let calls in, and in which order they end."""

import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from sightline_server.app.parts import admit_calls, build_core, build_front, start_refusing
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.rpc.server import listening
from sightline_server.settings import ServerSettings, Settings
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.authority import Authority
from tests.support.lens import FakeEngine, FakeSnapshot

SETTINGS = Settings(server=ServerSettings.model_validate({"listen": "127.0.0.1:0"}))


async def publish_one(registry: Registry, device: DeviceThread, embedders: ServedEmbedders) -> None:
    assert embedders.first.spec.name == "tiny-embedder"
    registry.publish(FakeSnapshot())


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts of the core, each added when it is asked to end."""
    order: list[str] = []
    for part in (DecodeProcesses, MicroBatcher, Registry, DeviceThread):
        monkeypatch.setattr(part, "close", noted(order, part.__name__, getattr(part, "close")))  # noqa: B009
    return order


def noted(order: list[str], name: str, close: Any) -> Any:
    """`close`, which also adds `name` to `order`."""

    def closing(part: object) -> Any:
        order.append(name)
        return close(part)

    return closing


async def test_parts_end_in_reverse_order_of_their_start(ended: list[str]) -> None:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        front = build_front(stack, SETTINGS, metrics)
        stack.enter_context(listening(front.door.server, SETTINGS.server))
        stack.callback(ended.append, "server")
        await start_refusing(stack, front)
        stack.callback(ended.append, "engine")
        core = await build_core(stack, front, FakeEngine(), EngineMetrics(metrics.engine), publish_one)
        await admit_calls(front, core)
    batchers = ["MicroBatcher"] * 3
    assert ended == ["DecodeProcesses", *batchers, "Registry", "DeviceThread", "engine", "server"]


async def test_calls_come_in_only_when_they_are_admitted() -> None:
    metrics, engine = Metrics(), FakeEngine()
    async with AsyncExitStack() as stack:
        front = build_front(stack, SETTINGS, metrics)
        core = await build_core(stack, front, engine, EngineMetrics(metrics.engine), publish_one)
        states = [front.door.admission.state.name]
        await admit_calls(front, core)
        assert [*states, front.door.admission.state.name] == ["STARTING", "SERVING"]
        assert metrics.registry.get_sample_value("sightline_engine_ready") == 1
        engine.ready = False
        assert metrics.registry.get_sample_value("sightline_engine_ready") == 0


async def fail_to_publish(registry: Registry, device: DeviceThread, embedders: ServedEmbedders) -> None:
    thread = await device.run(threading.current_thread)
    raise SightlineError(ErrorKind.CONFIGURATION, f"no catalog on {thread.name}")


async def build(engine: FakeEngine) -> None:
    """Builds parts whose catalogs cannot be opened. Raises `SightlineError`."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        front = build_front(stack, SETTINGS, metrics)
        await build_core(stack, front, engine, EngineMetrics(metrics.engine), fail_to_publish)


async def test_catalogs_that_cannot_be_opened_end_what_was_started(ended: list[str]) -> None:
    with pytest.raises(SightlineError, match="no catalog on index"):
        await build(FakeEngine())
    assert ended == ["Registry", "DeviceThread"]


async def test_a_front_reports_the_process_under_its_name(tmp_path: Path) -> None:
    metrics, authority = Metrics(), Authority(tmp_path)
    tls = {"tls_cert": str(authority.cert), "tls_key": str(authority.key)}
    settings = Settings(server=ServerSettings.model_validate({"listen": "127.0.0.1:0", **tls}))
    async with AsyncExitStack() as stack:
        front = build_front(stack, settings, metrics, worker="7")
        await start_refusing(stack, front)
        assert front.door.certificates is not None
        assert metrics.registry.get_sample_value("sightline_worker_resident_memory_bytes", {"worker": "7"})
