"""The catalogs of the settings as a registry of snapshots on one device thread."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import read_facts
from sightline_server.index.choice.choosing import DEFAULT_POLICY, IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import log_library, open_snapshot
from sightline_server.index.registry import Registry, RegistryObserver
from sightline_server.settings import Settings

log = logging.getLogger(__name__)


def check_folders(settings: Settings) -> dict[str, Path]:
    """The folder of each catalog by its name, after a check of each.

    Raises `SightlineError` of kind CONFIGURATION when none was given, or one is not a catalog.
    """
    folders = settings.catalog_folders
    if not folders and not settings.milvus_catalogs:
        raise SightlineError(
            ErrorKind.CONFIGURATION, "no catalog given: --catalog DIR, built by `sightline catalog build`"
        )
    for name, path in folders.items():
        with naming(name, folders):
            read_facts(path)
    return folders


@contextmanager
def naming(name: str, folders: Mapping[str, Path]) -> Iterator[None]:
    """Errors name the catalog where there are several."""
    try:
        yield
    except SightlineError as error:
        if len(folders) == 1:
            raise
        raise SightlineError(error.kind, f"catalog {name}: {error.message}") from error


def new_registry(stack: AsyncExitStack, observer: RegistryObserver) -> tuple[Registry, DeviceThread]:
    """An empty registry and the thread of its device; both end with `stack`."""
    device = DeviceThread()
    stack.callback(device.close)
    registry = Registry(observer)
    stack.push_async_callback(registry.close)
    return registry, device


async def publish_folders(
    folders: Mapping[str, Path],
    registry: Registry,
    device: DeviceThread,
    embedders: Embedders,
    *,
    policy: IndexPolicy = DEFAULT_POLICY,
) -> None:
    """Opens the catalogs in `folders` for `embedders`, one after the other, and publishes them in `registry`.

    `policy` says which index each of them gets. Raises `SightlineError`.
    """
    log_library()
    for name, path in folders.items():
        with naming(name, folders):
            registry.publish(await open_snapshot(path, name, embedders, device, policy))
