"""A catalog's writer for tests: the real store, written to in a thread, without the queue of a server."""

import asyncio
from collections.abc import Sequence
from typing import Any

from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.index.living import LivingCatalog


class LivingWriter:
    """The part of `ports.CatalogWriter` that imports use. `before` is awaited ahead of each group."""

    def __init__(self, living: LivingCatalog, before: Any = None) -> None:
        self._living = living
        self._before = before
        self.groups: list[list[str]] = []

    @property
    def embedder(self) -> EmbedderSpec:
        """See `CatalogWriter`."""
        return self._living.embedder

    @property
    def views(self) -> int:
        """See `CatalogWriter`."""
        return self._living.views

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = 0.0
    ) -> Receipt:
        """See `CatalogWriter`."""
        if self._before is not None:
            await self._before(len(self.groups))
        receipt = await asyncio.to_thread(self._living.upsert, rows)
        self.groups.append([row.product.id for row in rows])
        return receipt

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        """See `CatalogWriter`."""
        return tuple(map(self._living.originals.add, images)) if self._living.originals.kept else ()

    @property
    def keeps_features(self) -> bool:
        """See `CatalogWriter`."""
        return self._living.features.kept

    async def keep_features(self, features: Sequence[bytes]) -> tuple[str, ...]:
        """See `CatalogWriter`."""
        return tuple(map(self._living.features.add, features))

    async def checkpoint(self, note: str = "") -> Revision:
        """See `CatalogWriter`."""
        return await asyncio.to_thread(self._living.checkpoint, note)
