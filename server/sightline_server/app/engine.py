"""The model engine from the settings."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from sightline_models.places import default_repository
from sightline_server.settings import Settings
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.devices import Device
from sightline_server.triton.engine import TritonEngine, make_engine
from sightline_server.triton.link import link_of
from sightline_server.triton.repository import assemble


@asynccontextmanager
async def engine_session(
    settings: Settings, events: EngineEvents | None = None, *, watched: Mapping[str, str] | None = None
) -> AsyncIterator[TritonEngine]:
    """A started engine for the length of the block: the embedded one, or the one at `engine.triton_url`.

    Raises `SightlineError`, of kind CONFIGURATION where images would leave this machine without encryption unasked.

    `watched` are the models' digests when a parent process watches that Triton and its processes: then this one, when
    idle, sends it no calls of its own.
    """
    part = settings.engine
    link = link_of(part)
    home, repository = places(settings)
    config = EngineConfig(
        home=home,
        repository=repository,
        triton_url=str(link.address) if link else None,
        tls=link.tls if link else None,
        insecure=part.triton_insecure,
        device=Device(part.device),
        start_timeout_s=part.start_timeout_s,
        probe_interval_s=part.probe_interval_s,
        probe_timeout_s=part.probe_timeout_s,
        shared_memory=part.shared_memory,
        metrics_port=part.metrics_port,
    )
    if watched:
        config = replace(config, digests=watched, idle_infer_interval_s=math.inf)
    engine = make_engine(config, events)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def places(settings: Settings) -> tuple[Path, Path]:
    """Home and model repository of an embedded engine, with the packaged configurations; another one has neither."""
    if settings.engine.triton_url is not None:
        return Path(), Path()
    home = settings.home_folder
    repository = settings.engine.repository or default_repository(home)
    assemble(repository)
    return home, repository
