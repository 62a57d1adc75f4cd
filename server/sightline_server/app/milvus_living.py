"""A catalog in Milvus that this process writes: its folder, opened by its only writer, and what follows it to Milvus.

Rule: as `living.py`, but Milvus need not be there. Until `MilvusKeeper` has reached it nothing is written.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sightline_server.app.living import OpenCatalog, closed
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.embedders import Embedders
from sightline_server.index.living import LivingCatalog

if TYPE_CHECKING:
    from sightline_server.index.milvus.live import MilvusLive


@asynccontextmanager
async def open_in_milvus(
    path: Path, name: str, embedders: Embedders, *, actor: str
) -> AsyncIterator["OpenCatalog[MilvusLive]"]:
    """The catalog at `path`, written by this process and searched in Milvus under `name`.

    A catalog without a log gets one. Raises `SightlineError` of kind CONFIGURATION when another process writes to the
    catalog, when it is damaged or was made with none of `embedders`.
    """
    from sightline_server.index.milvus.live import MilvusLive

    live = MilvusLive(path, name, embedders)
    store = CatalogStore(path, actor=actor, published=live, pause=live.require_settled)
    live.store = store
    catalog = LivingCatalog(path, actor=actor, store=store)
    await asyncio.to_thread(catalog.__enter__)
    try:
        catalog.require_embedder(embedders)
        await asyncio.to_thread(live.begin)
        yield OpenCatalog(catalog, live)
    finally:
        await asyncio.shield(asyncio.to_thread(closed, catalog, live))
