"""The model engine from the settings: on this machine, or at `engine.triton_url`."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from sightline_server.app.clock import clock
from sightline_server.app.embedded import embedded_host
from sightline_server.app.further_embedders import further_embedders
from sightline_server.app.text_folders import text_encoder_folders
from sightline_server.domain.models import AnyRole
from sightline_server.ports import SharedEngine
from sightline_server.settings import EngineSettings, Settings
from sightline_server.triton.config import EngineConfig, EngineEvents, NoEvents
from sightline_server.triton.engine import TritonEngine
from sightline_server.triton.hosts import Host, ProviderListener
from sightline_server.triton.link import link_of
from sightline_server.triton.printed_text_specs import PRINTED_TEXT_MODELS
from sightline_server.triton.remote import RemoteHost
from sightline_server.triton.specs import search_models


@asynccontextmanager
async def engine_session(
    settings: Settings, events: EngineEvents | None = None, *, watched: Mapping[str, str] | None = None
) -> AsyncIterator[SharedEngine]:
    """A started engine for the length of the block: the embedded one, or the one at `engine.triton_url`.

    Raises `SightlineError`, of kind CONFIGURATION where images would leave this machine without encryption unasked.

    `watched` are the models' digests when a parent process watches that Triton and its processes: then this process
    sends it no tiny infers while it is idle.
    """
    listener = events or NoEvents()
    searched = search_models(further_embedders(settings), text_encoder_folders(settings))
    models = (*searched, *(PRINTED_TEXT_MODELS if settings.printed_text.enabled else ()))
    roles = tuple(model.role for model in models)
    host = make_host(settings, listener.provider, watched or {}, roles)
    config = replace(engine_config(settings.engine, watched=bool(watched)), models=models)
    engine = TritonEngine(host, config, listener, clock)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def make_host(
    settings: Settings,
    on_provider: ProviderListener,
    digests: Mapping[str, str],
    roles: tuple[AnyRole, ...],
) -> Host:
    """The place where the engine of the settings runs, with the models of `roles`.

    Raises `SightlineError` of kind CONFIGURATION.
    """
    if link := link_of(settings.engine):
        return RemoteHost(link, on_provider, digests, roles)
    return embedded_host(settings, on_provider, roles)


def engine_config(part: EngineSettings, *, watched: bool) -> EngineConfig:
    """The configuration of an engine, wherever it runs; one that is `watched` by a parent gets no idle infers."""
    config = EngineConfig(
        start_timeout_s=part.start_timeout_s,
        probe_interval_s=part.probe_interval_s,
        probe_timeout_s=part.probe_timeout_s,
        shared_memory=part.shared_memory,
    )
    return replace(config, idle_infer_interval_s=math.inf) if watched else config
