"""The model engine from the settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sightline_models.places import default_repository
from sightline_server.ports import Engine
from sightline_server.settings import Settings
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.devices import Device
from sightline_server.triton.engine import make_engine
from sightline_server.triton.repository import assemble


@asynccontextmanager
async def engine_session(settings: Settings, events: EngineEvents | None = None) -> AsyncIterator[Engine]:
    """A started engine for the length of the block: the embedded one, or the one at `engine.triton_url`."""
    part = settings.engine
    repository = part.repository or default_repository(settings.home)
    assemble(repository)
    engine: Engine = make_engine(
        EngineConfig(
            home=settings.home,
            repository=repository,
            triton_url=part.triton_url,
            device=Device(part.device),
            start_timeout_s=part.start_timeout_s,
            probe_interval_s=part.probe_interval_s,
            probe_timeout_s=part.probe_timeout_s,
            shared_memory=part.shared_memory,
            metrics_port=part.metrics_port,
        ),
        events,
    )
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
