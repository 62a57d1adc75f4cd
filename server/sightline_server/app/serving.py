"""A server of one process for the length of a block: what starts when, and what stops when.

`workers/` makes several processes of the same parts.
"""

import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from sightline_server.app.background import keep_certificates
from sightline_server.app.catalog_changes import kept_kinds, open_catalogs_folder
from sightline_server.app.catalog_door import CatalogDoor
from sightline_server.app.catalogs import publish_folders
from sightline_server.app.checks import check_settings
from sightline_server.app.engine import engine_session
from sightline_server.app.following import fetch_missing, keep_following, renew_unservable
from sightline_server.app.following_operations import FollowedCatalogs
from sightline_server.app.limits import index_policy
from sightline_server.app.metrics_page import build_facts, start_metrics
from sightline_server.app.parts import (
    Core,
    Front,
    admit_calls,
    build_catalog_door,
    build_core,
    build_front,
    start_refusing,
)
from sightline_server.app.publishing import keep_publishing, make_publishers
from sightline_server.app.reload import CatalogReloader, RegistryShelf, Reloading
from sightline_server.app.running import Running
from sightline_server.app.warm_up import warm_up
from sightline_server.app.writing import listen_for_writes
from sightline_server.app.written import WrittenCatalogs
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import DETECTOR
from sightline_server.index.choice.choosing import IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.rpc import server as rpc_server
from sightline_server.settings import Settings
from sightline_server.telemetry.engine import EngineMetrics
from sightline_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Running]:
    """A server for the length of the block, from warm-up to a graceful stop.

    The port is bound first and refuses with UNAVAILABLE until everything is warm. Raises `SightlineError`.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        front = build_front(stack, settings, metrics)
        door = front.door
        metrics_address = start_metrics(stack, settings.server, metrics.registry)
        metrics.workers_wanted.set(1)
        address = stack.enter_context(rpc_server.listening(door.server, settings.server, door.certificates))
        # Before the engine: what is wrong with the settings is reported at once.
        await fetch_missing(settings)
        folders = check_settings(settings)
        catalog_door = await start_catalog_door(stack, front)
        server = settings.server
        made = open_catalogs_folder(
            *(stack, server.catalogs_folder, door.names, folders),
            kinds=partial(kept_kinds, server),
            views=server.image_views,
        )
        await start_refusing(stack, front)
        events = EngineMetrics(metrics.engine)
        engine = await stack.enter_async_context(engine_session(settings, events))
        log.info("engine: %s, %s", engine.spec(DETECTOR).identity, ", ".join(engine.embedders.identities))
        await renew_unservable(settings, engine.embedders)
        policy = index_policy(settings.index)
        followed = {name: folders[name] for name in settings.followed_catalogs}
        own = {name: path for name, path in folders.items() if name not in followed}
        in_milvus = settings.written_in_milvus
        publishers = make_publishers(settings)
        before = {name: each.keep_operations for name, each in publishers.items()}
        written = None
        if catalog_door:
            written = WrittenCatalogs(stack, own, metrics, policy, in_milvus=in_milvus, before_checkpoint=before)
        following = FollowedCatalogs(followed, settings.followed_catalogs, policy, metrics.replication)
        publish = partial(publish_catalogs, written, own, following, policy)
        core = await build_core(stack, front, engine, events, publish, live=written.live if written else {})
        await warm_up(core.pipeline, settings)
        metrics.build.labels(**build_facts(engine)).set(1)
        metrics.workers.set(1)
        await admit_calls(front, core)
        stack.push_async_callback(door.close, settings.server.grace_s)
        if catalog_door and written:
            await listen_for_writes(stack, front, core, catalog_door, written, made)
        reloading = build_reloading(stack, front, core, ChainMap(own, followed), following)
        keep_following(
            *(stack, settings, engine.embedders, metrics.replication, reloading.reload_catalogs),
            operations=following.followers,
        )
        following.keep_following(stack)
        keep_publishing(stack, publishers, metrics.replication)
        yield Running(str(address), metrics_address, reloading.on_hangup, reloading.reload_catalogs)


async def publish_catalogs(
    written: WrittenCatalogs | None,
    own: Mapping[str, Path],
    followed: FollowedCatalogs,
    policy: IndexPolicy,
    registry: Registry,
    device: DeviceThread,
    embedders: ServedEmbedders,
) -> None:
    """Opens and publishes the catalogs: by `written` those of this server, where it writes them. See `parts`."""
    if written is None:
        await publish_folders(own, registry, device, embedders, policy=policy)
    else:
        await written.publish(registry, device, embedders)
    await followed.publish(registry, device, embedders)


async def start_catalog_door(stack: AsyncExitStack, front: Front) -> CatalogDoor | None:
    """Listens for CatalogService, which refuses calls until its catalogs are open; None where it is off."""
    if front.settings.server.catalog_listen is None:
        return None
    door = build_catalog_door(front)
    address = stack.enter_context(door.listening())
    keep_certificates(stack, door.certificates)
    await door.start()
    stack.push_async_callback(door.server.stop, None)
    log.info("CatalogService listens on %s", address)
    return door


def build_reloading(
    stack: AsyncExitStack, front: Front, core: Core, folders: Mapping[str, Path], followed: FollowedCatalogs
) -> Reloading:
    """The reloads of the files of TLS and access and of the catalogs in `folders`, of which some are `followed`; a
    running one is cancelled when `stack` ends.
    """
    policy = index_policy(front.settings.index)
    shelf = RegistryShelf(folders, core.registry, core.device, core.engine.embedders, policy, followed)
    reloading = Reloading(front.door.certificates, CatalogReloader(shelf, core.catalog_metrics), front.watched_files)
    stack.callback(reloading.end)
    return reloading
