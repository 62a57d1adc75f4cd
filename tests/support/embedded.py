"""An embedded engine on tiny models that tests may kill and freeze, and what it needs to notice.

    from tests.support.embedded import embedded, shared_engine  # noqa: F401 (fixtures)

`embedded` is shared by the tests of a file, which need `pytest.mark.asyncio(loop_scope="module")`; `running_engine` is
one of a test's own.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest_asyncio

from sightline_server import owned_names
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.embedded.host import EmbeddedHost
from sightline_server.errors import SightlineError
from sightline_server.triton import regions
from sightline_server.triton.config import EngineEvents
from sightline_server.triton.engine import TritonEngine
from tests.support.engine import embedded_engine
from tests.support.tiny_models import EMBEDDER_SIZE, expected_embeddings

BACK_WITHIN_S = 30.0
CALL_S = 4.0
CROPS = np.random.default_rng(7).integers(0, 256, (3, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8)
FRAMES = np.random.default_rng(8).integers(0, 256, (2, 64, 64, 3), np.uint8)


@dataclass
class Events:
    """Records the events of the engine for tests."""

    mends: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Models that Triton marked as unhealthy."""
    providers: dict[str, str] = field(default_factory=dict)
    precisions: dict[str, str] = field(default_factory=dict)

    def restarted(self, kind: str, /) -> None:
        self.mends.append(kind)

    def transport(self, model: str, name: str, /) -> None:
        pass

    def provider(self, model: str, name: str, precision: str, /) -> None:
        self.providers[model] = name
        self.precisions[model] = precision

    def given_up(self, model: str, /) -> None:
        self.lost.append(model)


if TYPE_CHECKING:
    _events: EngineEvents = Events()


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


@asynccontextmanager
async def running_engine(repository: Path, **changes: Any) -> AsyncIterator[Embedded]:
    """A started engine with quick probes for the length of the block; nothing of it may be left in `/dev/shm`."""
    settings = {"probe_interval_s": 0.2, "probe_timeout_s": 3.0, "reload_timeout_s": 15.0, "stop_timeout_s": 0.5}
    events = Events()
    engine = embedded_engine(repository, events, **{**settings, **changes})
    readiness = Readiness(engine)
    await engine.start()
    readiness.seen.clear()
    assert isinstance(engine.host, EmbeddedHost)
    try:
        yield Embedded(engine, engine.host, events, readiness)
    finally:
        await engine.stop()
    assert regions.listed(owned_names.own_prefix()) == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_engine(tiny_repository: Path) -> AsyncIterator[Embedded]:
    """One engine for a file's tests; each of them harms it, and it has to be whole again for the next."""
    async with running_engine(tiny_repository) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def embedded(shared_engine: Embedded) -> AsyncIterator[Embedded]:
    """The file's engine at rest before the test, and answering after it. Tests need `loop_scope="module"`."""
    assert shared_engine.engine.ready
    shared_engine.readiness.seen.clear()
    shared_engine.events.mends.clear()
    yield shared_engine
    await both(shared_engine.engine)
    assert shared_engine.engine.ready


async def embed(engine: TritonEngine, seconds: float = CALL_S) -> None:
    """One good answer of the embedder."""
    answer = await engine.runner(EMBEDDER).infer({"CROPS": list(CROPS)}, deadline=time.monotonic() + seconds)
    np.testing.assert_allclose(answer["EMBEDDINGS"], expected_embeddings(CROPS), atol=1e-6)


async def embed_until_it_fails(engine: TritonEngine) -> None:
    """Calls the embedder until a call fails."""
    while True:
        await embed(engine)


async def both(engine: TritonEngine) -> None:
    """One good answer of each model."""
    await embed(engine)
    answer = await engine.runner(DETECTOR).infer({"IMAGES": list(FRAMES)}, deadline=time.monotonic() + CALL_S)
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
