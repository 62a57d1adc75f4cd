"""The real Triton on tiny models for tests: one engine for a whole test session, a cheap connection for each test.

tests/conftest.py names the fixtures for all tests:

    async def test_something(tiny_engine):
        answer = await tiny_engine.runner(EMBEDDER).infer({"CROPS": parts}, deadline=None)

`tiny_triton` starts tritonserver once (about 3 s) and gives its `TritonSession`; `tiny_engine` is a started engine on
it in the test's own event loop. A test that kills or freezes engines starts its own with `embedded_engine`;
`remote_engine` is one on a Triton elsewhere.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sightline_server import owned_names
from sightline_server.domain.address import parse_target
from sightline_server.embedded.command import private_ports
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.host import EmbeddedHost, linked
from sightline_server.embedded.install import install
from sightline_server.embedded.precision import Precision
from sightline_server.embedded.process import TritonProcess
from sightline_server.embedded.reaping import Reaper
from sightline_server.runtime_folder import RuntimeFolder
from sightline_server.triton import regions
from sightline_server.triton.config import EngineConfig, EngineEvents, NoEvents
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.link import Link, TritonTls
from sightline_server.triton.remote import RemoteHost
from tests.support.tiny_models import build_repository

CHECKOUT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
EMBEDDED_ONLY = {field.name for field in fields(EmbeddedConfig)}


@dataclass(frozen=True)
class TritonSession:
    """A running tritonserver with the tiny models."""

    url: str
    metrics_url: str
    repository: Path
    home: Path


def sightline_home() -> Path:
    """The home of the engine: `$SIGHTLINE_HOME`, else the checkout's `.sightline`."""
    return Path(os.environ.get("SIGHTLINE_HOME", CHECKOUT / ".sightline")).absolute()


def embedded_engine(repository: Path, events: EngineEvents | None = None, **changes: Any) -> TritonEngine:
    """An embedded engine on `repository`, not started yet; installs it first if it is not there.

    `changes` are values of `EmbeddedConfig` and of `EngineConfig`.
    """
    own = {name: changes.pop(name) for name in EMBEDDED_ONLY & changes.keys()}
    # Answers are compared to the last digit: those of bf16 have tests that ask for it.
    settings = {"home": sightline_home(), "repository": repository, "precision": Precision.FLOAT32}
    config = EmbeddedConfig(**{**settings, **own})
    install(config.home, progress=lambda text: None)
    listener = events or NoEvents()
    host = EmbeddedHost(config, listener.provider)
    return TritonEngine(host, EngineConfig(**changes), listener)


def remote_engine(url: str, tls: TritonTls | None = None, **changes: Any) -> TritonEngine:
    """An engine on the Triton at `url`, not started yet; `changes` are values of `EngineConfig`."""
    host = RemoteHost(Link(parse_target(url), tls), NoEvents().provider)
    return TritonEngine(host, EngineConfig(**changes))


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the tiny models."""
    return build_repository(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny_triton(tiny_repository: Path) -> Iterator[TritonSession]:
    """One real tritonserver on the tiny models for the whole session."""
    home = sightline_home()
    installation = install(home, progress=lambda text: None)
    regions.remove_orphans()
    reaper = Reaper(owned_names.own_prefix())
    reaper.start()
    folder = RuntimeFolder()
    reaper.keep(folder.path)
    ports = private_ports(folder.path, 0)
    process = TritonProcess(
        linked(folder, installation),
        folder.link("models", tiny_repository),
        ("detector", "embedder"),
        ports,
        f"{owned_names.own_prefix()}session-",
    )
    process.start()
    reaper.watch(process.pid)
    try:
        wait_until_it_listens(process)
        yield TritonSession(str(ports.address), ports.metrics_url, tiny_repository, home)
    finally:
        process.end(5.0)
        folder.close()
        reaper.watch(0)
        reaper.end()


@pytest_asyncio.fixture
async def tiny_engine(tiny_triton: TritonSession) -> AsyncIterator[TritonEngine]:
    """A started engine of this test's event loop on the session's Triton."""
    engine = remote_engine(tiny_triton.url)
    await engine.start()
    yield engine
    await engine.stop()


def wait_until_it_listens(process: TritonProcess) -> None:
    """Returns when the log says that the gRPC service has been started, which comes after the models."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not any("Started GRPCInferenceService" in line for line in process.log_tail(400)):
        if not process.running or time.monotonic() > deadline:
            raise RuntimeError("tritonserver did not start:\n" + "\n".join(process.log_tail()))
        time.sleep(0.02)
