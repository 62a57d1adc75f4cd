"""A catalog's writer whose searched rows are in Milvus: what cannot be done there now is refused before it is logged.

Rule: a refusal says what is the matter and what to do. Everything else is the writer's, as for any catalog.
"""

import math
from collections.abc import Callable, Sequence

from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import PLAIN, WriteTerms
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.forwarding_writer import ForwardingWriter
from sightline_server.index.milvus.fields import require_room, require_room_for_attributes
from sightline_server.index.milvus.live import NO_ROLLBACK, MilvusLive
from sightline_server.ports import CatalogWriter, unchecked


class GatedWriter(ForwardingWriter):
    """`ports.CatalogWriter`: `writer`, as far as `live` can show what it writes."""

    def __init__(self, writer: CatalogWriter, live: MilvusLive) -> None:
        super().__init__(writer)
        self._live = live

    async def upsert(
        self, rows: Sequence[CatalogRow], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        for row in rows:
            require_room(row.product, row.images)
        self._live.require_writable()
        return await self._writer.upsert(rows, request_id, terms=terms, deadline=deadline)

    async def update(
        self,
        updates: Sequence[ProductUpdate],
        request_id: str = "",
        *,
        terms: WriteTerms = PLAIN,
        deadline: float = math.inf,
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        for update in updates:
            require_room_for_attributes(update.id, update.attributes or {})
        self._live.require_writable()
        return await self._writer.update(updates, request_id, terms=terms, deadline=deadline)

    async def delete(
        self, ids: Sequence[str], request_id: str = "", *, terms: WriteTerms = PLAIN, deadline: float = math.inf
    ) -> Receipt:
        """See `ports.CatalogWriter`."""
        self._live.require_writable()
        return await self._writer.delete(ids, request_id, terms=terms, deadline=deadline)

    async def activate(self, number: int, note: str = "", *, check: Callable[[], object] = unchecked) -> Revision:
        """Refused: Milvus has the rows of one revision. Raises `SightlineError` of kind CONFIGURATION."""
        raise SightlineError(ErrorKind.CONFIGURATION, f"name: {NO_ROLLBACK}", field="name")
