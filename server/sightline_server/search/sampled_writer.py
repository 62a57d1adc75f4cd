"""A catalog's writer whose writes are reported to the freshness check.

Rule: nothing about a write changes; it is reported after its caller's receipt is known.
"""

import math
from collections.abc import Callable, Sequence

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate, StoredProduct
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.ports import CatalogWriter, unchecked
from sightline_server.search.freshness import FreshnessProber


class SampledWriter:
    """`ports.CatalogWriter`: `writer`, whose products are checked now and then once they are acknowledged."""

    def __init__(self, writer: CatalogWriter, prober: FreshnessProber) -> None:
        self._writer = writer
        self._prober = prober

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
        with self._prober.changing(self.name, [row.product.id for row in rows]):
            receipt = await self._writer.upsert(rows, request_id, terms=terms, deadline=deadline)
        # Of products that occur twice the last one counts; what was not written now may have changed since.
        if rows and receipt.seqs[-1] > 0 and not receipt.repeated and not terms.dry_run:
            self._prober.acknowledged(self.name, rows[-1].product.id, rows[-1].embeddings[0])
        return receipt

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
        """See `ports.CatalogWriter`. Vectors stay, so a product that is checked meanwhile is found all the same."""
        return await self._writer.update(updates, request_id, terms=terms, deadline=deadline)

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        with self._prober.changing(self.name, ids):
            return await self._writer.delete(ids, request_id, terms=terms, deadline=deadline)

    async def checkpoint(self, note: str = "") -> Revision:
        """See `ports.CatalogWriter`."""
        return await self._writer.checkpoint(note)

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """See `ports.CatalogWriter`."""
        with self._prober.changing(self.name, None):
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
