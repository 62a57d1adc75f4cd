"""The writer of a catalog for many callers: the methods that they call, over its loop and its reading.

Rule: every write is an entry or a job of the loop (`write_loop.py`). Reads run on a separate thread, and return
everything that was acknowledged.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.catalogs import unknown_catalog
from sightline_server.domain.living import UNOBSERVED
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.errors import SightlineError
from sightline_server.index.catalog_reading import CatalogReading
from sightline_server.index.group_window import SearchesFirst, at_once
from sightline_server.index.living import LivingCatalog
from sightline_server.index.write_groups import ROW_BYTES, deletes, public, size_of, updates_of, upserts
from sightline_server.index.write_loop import CHECKPOINT_S, WriteLoop, refused_by
from sightline_server.index.write_queue import Entry, WriteQueue
from sightline_server.ports import Clock, LivingObserver, unchecked

log = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")


class GroupWriter:
    """`ports.CatalogWriter` of an opened catalog. It runs from `start` to `close`; the catalog's owner closes that."""

    def __init__(
        self,
        name: str,
        living: LivingCatalog,
        *,
        clock: Clock,
        queue: WriteQueue | None = None,
        checkpoint_s: float = CHECKPOINT_S,
        observer: LivingObserver = UNOBSERVED,
        searches_first: SearchesFirst = at_once,
    ) -> None:
        self.name = name
        self._living = living
        self._loop = WriteLoop(
            name,
            living,
            clock=clock,
            queue=WriteQueue() if queue is None else queue,
            checkpoint_s=checkpoint_s,
            observer=observer,
            searches_first=searches_first,
        )
        self._reading = CatalogReading(living.store)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="catalog-reader")

    def start(self) -> None:
        """Begins to write."""
        self._loop.start()

    async def close(self) -> None:
        """Refuses calls, writes those that are in the queue, makes a checkpoint, and ends the threads."""
        await self._loop.close()
        await asyncio.to_thread(self._readers.shutdown)

    async def retire(self, remove: Callable[[int], None]) -> None:
        """Ends the writer of a catalog that is removed: no checkpoint is made, and later calls get UNKNOWN_CATALOG.

        `remove` removes it, on the writer's thread, given its number of products. No write comes between that number
        and the end. A `SightlineError` of it is raised here, and the writer goes on then.
        """
        await self._loop.retire(lambda: remove(CatalogReading(self._living.store).count()))

    @property
    def embedder(self) -> EmbedderSpec:
        """See `ports.CatalogWriter`."""
        return self._living.embedder

    @property
    def views(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._living.views

    @property
    def pending(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._living.store.pending

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """See `ports.CatalogWriter`."""
        return self._living.store.revisions

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        size = sum(map(size_of, rows))
        entry = Entry(lambda: upserts(self._living, rows), len(rows), size, request_id, terms)
        return await self._loop.put(entry, deadline)

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        originals = self._living.originals
        return await self._read(lambda: tuple(map(originals.add, images))) if originals.kept else ()

    @property
    def keeps_features(self) -> bool:
        """See `ports.CatalogWriter`."""
        return self._living.features.kept

    async def keep_features(self, features: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        store = self._living.features
        return await self._read(lambda: tuple(map(store.add, features))) if store.kept else ()

    async def update(
        self,
        updates: Sequence[ProductUpdate],
        request_id: str = "",
        *,
        terms: WriteTerms = PLAIN,
        deadline: float = math.inf,
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        entry = Entry(lambda: updates_of(updates), len(updates), ROW_BYTES * len(updates), request_id, terms)
        return await self._loop.put(entry, deadline)

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        entry = Entry(lambda: deletes(ids), len(ids), sum(map(len, ids)), request_id, terms)
        return await self._loop.put(entry, deadline)

    async def checkpoint(self, note: str = "") -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._loop.checkpoint(note)

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._loop.job(lambda: refused_by(check) or self._living.store.rollback(number, note))

    async def get(self, product_id: str) -> StoredProduct | None:
        """See `ports.CatalogWriter`."""
        return await self._read(lambda: self._reading.get(product_id))

    async def list(self, after: str, limit: int) -> tuple[StoredProduct, ...]:
        """See `ports.CatalogWriter`."""
        return await self._read(lambda: self._reading.page(after, limit))

    async def count(self) -> int:
        """See `ports.CatalogWriter`."""
        return await self._read(self._reading.count)

    async def _read(self, work: Callable[[], ValueT]) -> ValueT:
        self._loop.require_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except SightlineError as error:
            if self._loop.retired:
                raise unknown_catalog() from error
            log.error("catalog %s: a read failed: %s", self.name, error.message)
            raise public(error) from error
