"""The listener of CatalogService joined with the catalogs that it writes.

    WrittenCatalogs, watched -> a writer each -> CatalogDoor lets calls in
Rule: the listener ends first, then the writers, then the catalogs.
"""

from collections import ChainMap
from contextlib import AsyncExitStack

from sightline_server.app.catalog_changes import ChangingCatalogs
from sightline_server.app.catalog_door import CatalogDoor
from sightline_server.app.parts import Core, Front, build_served_images
from sightline_server.app.transfers import batched_embed
from sightline_server.app.watching import keep_watching
from sightline_server.app.written import WrittenCatalogs
from sightline_server.index.catalogs_folder import CatalogsFolder


async def listen_for_writes(
    stack: AsyncExitStack,
    front: Front,
    core: Core,
    door: CatalogDoor,
    written: WrittenCatalogs,
    folder: CatalogsFolder | None,
) -> None:
    """Lets calls of CatalogService in; writers and threads end with `stack`, after the calls.

    New catalogs are created in `folder`.
    """
    images = build_served_images(stack, front, core)
    written.watch(keep_watching(stack, core.registry, core.batchers.queries, written.observer))
    written.go_after(core.batchers.background)
    stack.push_async_callback(written.close)
    writers = {name: await written.write(name) for name in written.opened}
    embedders, batchers = core.engine.embedders, core.batchers
    embed = {
        each.spec.identity: batched_embed(each.spec, batchers.crops_of[each.spec.identity], batchers.background)
        for each in embedders.models
    }
    door.transfers.open(embedders, embed)
    door.transfers.folders = ChainMap(written.folders, dict(written.in_milvus))
    door.transfers.in_milvus = frozenset(written.in_milvus)
    door.transfers.opened = lambda name: written.opened[name].catalog
    door.writers.replicas = frozenset(front.settings.followed_catalogs)
    door.writers.publish(writers, images)
    configured, names = {**front.settings.catalog_folders, **written.in_milvus}, front.door.names
    changing = ChangingCatalogs(written, folder, configured, names, door.writers, door.transfers.jobs)
    door.service.catalogs = changing
    stack.push_async_callback(changing.close)
    await door.open()
    stack.push_async_callback(door.close, front.settings.server.grace_s)
