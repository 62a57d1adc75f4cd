"""A catalog's writer that passes every call on to another one.

Rule: nothing changes on the way. Its subclasses override the calls to which they add something.
"""

import math
from collections.abc import Callable, Sequence

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.ports import CatalogWriter, unchecked


class ForwardingWriter:
    """`ports.CatalogWriter`: the calls of `writer`."""

    def __init__(self, writer: CatalogWriter) -> None:
        self._writer = writer

    @property
    def name(self) -> str:
        """See `ports.CatalogWriter`."""
        return self._writer.name

    @property
    def embedder(self) -> EmbedderSpec:
        """See `ports.CatalogWriter`."""
        return self._writer.embedder

    @property
    def views(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._writer.views

    @property
    def pending(self) -> int:
        """See `ports.CatalogWriter`."""
        return self._writer.pending

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """See `ports.CatalogWriter`."""
        return self._writer.revisions

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        return await self._writer.upsert(rows, request_id, terms=terms, deadline=deadline)

    async def keep(self, images: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        return await self._writer.keep(images)

    @property
    def keeps_features(self) -> bool:
        """See `ports.CatalogWriter`."""
        return self._writer.keeps_features

    async def keep_features(self, features: Sequence[bytes]) -> tuple[str, ...]:
        """See `ports.CatalogWriter`."""
        return await self._writer.keep_features(features)

    async def update(
        self,
        updates: Sequence[ProductUpdate],
        request_id: str = "",
        *,
        terms: WriteTerms = PLAIN,
        deadline: float = math.inf,
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        return await self._writer.update(updates, request_id, terms=terms, deadline=deadline)

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        return await self._writer.delete(ids, request_id, terms=terms, deadline=deadline)

    async def checkpoint(self, note: str = "") -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._writer.checkpoint(note)

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._writer.activate(number, note, check=check)

    async def get(self, product_id: str) -> StoredProduct | None:
        """See `ports.CatalogWriter`."""
        return await self._writer.get(product_id)

    async def list(self, after: str, limit: int) -> tuple[StoredProduct, ...]:
        """See `ports.CatalogWriter`."""
        return await self._writer.list(after, limit)

    async def count(self) -> int:
        """See `ports.CatalogWriter`."""
        return await self._writer.count()
