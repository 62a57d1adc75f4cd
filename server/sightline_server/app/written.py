"""The catalogs of a server that writes them: opened by this process, and searched while they are written.

    folders -> open_living (lock, log, live index) -> a GroupWriter each, watched -> CatalogDoor
Rule: what writes ends before what is written is closed: the listener first, then the writers, then the catalogs.
"""

import getpass
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sightline_server.app.catalog_door import CatalogDoor
from sightline_server.app.catalogs import naming
from sightline_server.app.clock import clock
from sightline_server.app.living import OpenLiving, open_living
from sightline_server.app.parts import Core, Front, build_served_images
from sightline_server.app.transfers import batched_embed
from sightline_server.app.watching import keep_watching
from sightline_server.domain.models import EMBEDDER, EmbedderSpec
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.choice.choosing import DEFAULT_POLICY, IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import build_snapshot, log_library
from sightline_server.index.registry import Registry
from sightline_server.search.sampled_writer import SampledWriter
from sightline_server.telemetry.living import LivingMetrics
from sightline_server.telemetry.metrics import Metrics


class WrittenCatalogs:
    """The catalogs in `folders`, opened by this process as their only writer; they close with `stack`."""

    def __init__(
        self, stack: AsyncExitStack, folders: Mapping[str, Path], metrics: Metrics, policy: IndexPolicy = DEFAULT_POLICY
    ) -> None:
        self._stack = stack
        self._policy = policy
        self.folders = folders
        self.observer = LivingMetrics(metrics.living)
        self.opened: dict[str, OpenLiving] = {}

    async def publish(self, registry: Registry, device: DeviceThread, embedder: EmbedderSpec) -> None:
        """Opens each catalog and publishes it. Raises `SightlineError` as `open_living`."""
        log_library()
        for name, path in self.folders.items():
            with naming(name, self.folders):
                opening = open_living(
                    *(path, name, embedder, device, registry),
                    actor=server_user(),
                    observer=self.observer,
                    build=partial(build_snapshot, policy=self._policy),
                )
                self.opened[name] = await self._stack.enter_async_context(opening)


async def listen_for_writes(
    stack: AsyncExitStack, front: Front, core: Core, door: CatalogDoor, written: WrittenCatalogs
) -> None:
    """Lets calls of CatalogService in; writers and threads end with `stack`, after the calls."""
    images = build_served_images(stack, front, core)
    writers: dict[str, SampledWriter] = {}
    catalogs = {name: (written.folders[name], opened) for name, opened in written.opened.items()}
    prober = await keep_watching(stack, core.registry, core.batchers.queries, written.observer, catalogs)
    for name, opened in written.opened.items():
        writer = GroupWriter(name, opened.catalog, clock=clock, observer=written.observer)
        writer.start()
        stack.push_async_callback(writer.close)
        writers[name] = SampledWriter(writer, prober)
    door.transfers.open(core.engine.spec(EMBEDDER), batched_embed(core.batchers.crops))
    door.writers.publish(writers, images)
    await door.open()
    stack.push_async_callback(door.close, front.settings.server.grace_s)


def server_user() -> str:
    """The user that the server runs as, whom revisions name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return f"uid {os.getuid()}"
