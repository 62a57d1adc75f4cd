"""One revision of a catalog, ready to be searched: vectors in FAISS, products in Arrow.

Rule: everything that touches the index runs on the device thread, in the order in which it was asked; products are read
on any thread, because nothing ever changes them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.catalogs import Capability
from sightline_server.domain.items import Neighbour, Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import Catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.groups import distinct_groups, first_attempt_for_groups
from sightline_server.index.neighbours import Hit, HitColumns, distinct_products, first_attempt
from sightline_server.index.products import ProductTable
from sightline_server.index.vectors import VectorIndex

WIDENING = 4
CALL_HITS = 4_000_000
"""Hits that one call of the index returns at most, 48 MB of them, unless one query alone asks for more."""

ValueT = TypeVar("ValueT")


class CatalogSnapshot:
    """`ports.Snapshot` over one opened catalog. `index` belongs to the thread of `device`."""

    def __init__(
        self, name: str, catalog: Catalog, index: VectorIndex, device: DeviceThread, *, self_check_recall: float = 1.0
    ) -> None:
        facts = catalog.facts
        self.name = name
        self.revision = catalog.revision
        self.built_at = facts.built_at
        self.embedder = facts.embedder.identity
        self.dimension = facts.embedder.dimension
        self.product_count = facts.products
        self.capabilities = frozenset({Capability.ITEM_GROUPS, *((Capability.EXACT,) if index.exact else ())})
        self.self_check_recall = self_check_recall
        self._index = index
        self._device = device
        self._table = ProductTable(catalog.display)
        self._image_links = catalog.image_links
        self._owners = catalog.owners
        self._max_images = facts.max_images
        self._closed = False

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        grouped = [False] * len(queries) if by_group is None else by_group
        if queries.ndim != 2 or queries.shape[1] != self.dimension or k < 1 or len(grouped) != len(queries):
            raise SightlineError(ErrorKind.INTERNAL, "a query does not fit the index")
        return await self._on_device(lambda: self._table.neighbours(self._nearest(queries, k, grouped)))

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return self._table.take(rows)

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        links: list[str] = self._image_links.take(images).to_pylist()
        return links

    async def close(self) -> None:
        """Waits for the searches that were asked before, then frees the vectors. Later searches are refused."""
        if not self._closed:
            self._closed = True
            await self._device.run(self._index.close)

    async def _on_device(self, work: Callable[[], ValueT]) -> ValueT:
        if self._closed:
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index is closed", retry_after_s=1.0)
        try:
            return await self._device.run(work)
        except SightlineError:
            raise
        except Exception as error:  # the vector library raises whatever its device meets
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index failed", retry_after_s=1.0) from error

    def _nearest(self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool]) -> list[list[Hit]]:
        """The nearest products of each query; asks again for more vectors where the first ones do not settle it."""
        settled: dict[int, list[Hit]] = {}
        open_queries = list(range(len(queries)))
        first = max(first_attempt(k, self._max_images), first_attempt_for_groups(k) if any(by_group) else 0)
        count = min(first, self._index.max_k)
        while open_queries:
            exhausted = count >= self._index.max_k
            for query, hits in self._hits(queries, open_queries, count):
                chosen = self._chosen(hits, k, by_group=by_group[query], exhausted=exhausted)
                if chosen is not None:
                    settled[query] = chosen
            open_queries = [query for query in open_queries if query not in settled]
            count = min(count * WIDENING, self._index.max_k)
        return [settled[query] for query in range(len(queries))]

    def _chosen(self, hits: HitColumns, k: int, *, by_group: bool, exhausted: bool) -> list[Hit] | None:
        """The nearest products among `hits`, or of the nearest groups; None where more hits are needed to decide."""
        order = self._table.id_order
        if by_group:
            return distinct_groups(hits, self._table.groups[hits.products], k, order, exhausted=exhausted)
        return distinct_products(hits.hits(), k, order, exhausted=exhausted)

    def _hits(self, queries: NDArray[np.float32], asked: Sequence[int], count: int) -> Iterator[tuple[int, HitColumns]]:
        """The `count` nearest vectors of the queries `asked`, in calls that the memory has room for."""
        together = max(1, CALL_HITS // count)
        for start in range(0, len(asked), together):
            part = asked[start : start + together]
            similarities, vectors = self._index.search(queries[part], count)
            hits = HitColumns(np.clip(similarities, -1.0, 1.0), self._owners[vectors], vectors)
            for place, valid in enumerate((vectors >= 0).sum(axis=1).tolist()):
                yield part[place], hits.of_query(place, valid)
