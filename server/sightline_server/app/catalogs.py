"""The catalogs of the settings as a registry of snapshots on one device thread."""

import logging
from contextlib import AsyncExitStack
from pathlib import Path

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import read_facts
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import log_library, open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.settings import Settings
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


def catalog_path(settings: Settings) -> Path:
    """Where the catalog is. Raises `SightlineError` of kind CONFIGURATION when none was given, or there is none."""
    path = settings.catalog.path
    if path is None:
        raise SightlineError(
            ErrorKind.CONFIGURATION, "no catalog given: --catalog DIR, built by `sightline catalog build`"
        )
    read_facts(path)
    return path


def new_registry(stack: AsyncExitStack, metrics: Metrics) -> tuple[Registry, DeviceThread]:
    """An empty registry and the thread of its device; both end with `stack`."""
    device = DeviceThread()
    stack.callback(device.close)
    registry = Registry(CatalogMetrics(metrics))
    stack.push_async_callback(registry.close)
    return registry, device


async def open_catalogs(
    stack: AsyncExitStack, settings: Settings, embedder: EmbedderSpec, metrics: Metrics
) -> Registry:
    """The catalog of the settings, opened for `embedder`. Raises `SightlineError`."""
    registry, device = new_registry(stack, metrics)
    log_library()
    registry.publish(await open_snapshot(catalog_path(settings), settings.catalog.name, embedder, device))
    return registry
