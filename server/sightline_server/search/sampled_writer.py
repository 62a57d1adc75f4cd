"""A catalog's writer whose writes are reported to the freshness check.

Rule: nothing about a write changes; it is reported after its caller's receipt is known. Updates are not reported: the
vectors stay, so a product that is checked meanwhile is found all the same.
"""

import math
from collections.abc import Callable, Sequence

from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.index.forwarding_writer import ForwardingWriter
from sightline_server.ports import CatalogWriter, unchecked
from sightline_server.search.freshness import FreshnessProber


class SampledWriter(ForwardingWriter):
    """`ports.CatalogWriter`: `writer`, whose products are checked now and then once they are acknowledged."""

    def __init__(self, writer: CatalogWriter, prober: FreshnessProber) -> None:
        super().__init__(writer)
        self._prober = prober

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

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        with self._prober.changing(self.name, ids):
            return await self._writer.delete(ids, request_id, terms=terms, deadline=deadline)

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """See `ports.CatalogWriter`."""
        with self._prober.changing(self.name, None):
            return await self._writer.activate(number, note, check=check)
