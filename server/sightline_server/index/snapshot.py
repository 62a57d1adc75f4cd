"""One revision of a catalog, ready to be searched: vectors in FAISS, products in Arrow.

Rule: everything that touches the index runs on the device thread, in the order in which it was asked; products are read
on any thread, because nothing ever changes them.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.catalogs import Capability
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AppliedFilter, Filter, PlanKind
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import AdaptedSearch
from sightline_server.index.coded import coded_products, images_of
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.filtered import FilteredSnapshot, FilteredSnapshots
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.matching import matching
from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.filters.searches import GatherSearch
from sightline_server.index.filters.selecting import Selector, search_of
from sightline_server.index.gtins import MOST_PRODUCTS, GtinRows
from sightline_server.index.held_content import without_pause
from sightline_server.index.nearest import NearestProducts, checked_grouping
from sightline_server.index.opened_catalog import Catalog, Moment
from sightline_server.index.products import ProductTable
from sightline_server.index.served_features import served_features
from sightline_server.index.vectors import Search, VectorIndex
from sightline_server.ports import CodedProducts, Snapshot

ValueT = TypeVar("ValueT")
DEFAULT_LIMITS = PlanLimits()
NO_FILTER = Filter()


class CatalogSnapshot:
    """`ports.Snapshot` over one opened catalog. `index` belongs to the thread of `device`.

    `columns` are those of the catalog, made here where they are not given; `selects` says whether `index` applies
    selectors. `probing` makes the probes, for `make_probes`, and calls what it is given before each part of the work.
    """

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        index: VectorIndex,
        device: DeviceThread,
        *,
        columns: FilterColumns | None = None,
        selects: bool = False,
        limits: PlanLimits = DEFAULT_LIMITS,
        self_check_recall: float = 1.0,
        probes: Probes = NO_PROBES,
        probing: Callable[[Callable[[], None]], Probes] | None = None,
    ) -> None:
        facts = catalog.facts
        self.facts = facts
        self.name = name
        self.revision = catalog.revision
        self.built_at = facts.built_at
        self.embedder = facts.embedder.identity
        self.dimension = facts.embedder.dimension
        self.adapter = catalog.adapter
        self.index_dimension = self.dimension if catalog.adapter is None else catalog.adapter.dimension
        """The numbers of a vector of `index`."""
        self.product_count = facts.products
        exact = (Capability.EXACT,) if index.exact else ()
        self.capabilities = frozenset({Capability.ITEM_GROUPS, Capability.FILTERS, *exact})
        self.self_check_recall = self_check_recall
        self.probes = probes
        self._probing = probing
        self.applied_filter: AppliedFilter | None = None
        self.index = index
        self.table = ProductTable(catalog.display)
        self.gtins = GtinRows.of(catalog.display["gtin"])
        self.prices = catalog.prices
        self.owners = catalog.owners
        self.max_images = facts.max_images
        self.columns = columns or FilterColumns.of(catalog.display, catalog.prices)
        self.selects = selects
        self.limits = limits
        self.content = catalog.content
        """The moment of the catalog's log that this is; None for a catalog without one."""
        self.local_features = served_features(catalog.path)
        self.weights = None if catalog.weights is None else catalog.weights.weights
        self.verdict = None if catalog.verdict is None else catalog.verdict.verdict
        self._device = device
        self._nearest = NearestProducts(self.table, catalog.owners, facts.max_images)
        self.links = catalog.image_links
        self._selector = Selector(self.columns, catalog.owners, self.index_dimension, selects, limits)
        self._filtered = FilteredSnapshots()
        self._closed = False

    def make_probes(self, pause: Callable[[], None] = without_pause) -> None:
        """Makes the probes, which takes as long as comparing hundreds of queries with every vector; blocking.

        `pause` is called before each part of the work. An error that it raises ends the work, and there are no probes.
        """
        probing, self._probing = self._probing, None
        if probing is not None:
            self.probes = probing(pause)

    async def select(self, wanted: Filter) -> Snapshot:
        """See `ports.Snapshot`."""
        if not wanted:
            return self
        return self._filtered.get(wanted) or await self._select(wanted)

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        return await self._search(self.index, queries, k, by_group)

    @property
    def has_gtins(self) -> bool:
        """See `ports.Snapshot`."""
        return len(self.gtins) > 0

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """See `ports.Snapshot`."""
        return await self._with_gtin(NO_FILTER, gtin)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return self.table.take(rows)

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        links: list[str] = self.links.take(pa.array(images, pa.int64())).to_pylist()
        return links

    async def close(self) -> None:
        """Waits for the searches that were asked before, then frees the vectors. Later searches are refused."""
        if not self._closed:
            self._closed = True
            self._filtered.clear()
            await self._device.run(self.index.close)

    async def _select(self, wanted: Filter) -> Snapshot:
        selection = await asyncio.to_thread(self._selector.selection, wanted)
        applied = AppliedFilter(filter_text(wanted), selection.plan)
        if selection.plan.kind is PlanKind.NO_MATCH:
            return self._filtered.add(wanted, FilteredSnapshot(self, applied, self._nothing), selection.size)
        search = await self.on_device(partial(search_of, selection, self.index, self.limits))
        filtered = FilteredSnapshot(self, applied, partial(self._search, search), partial(self._with_gtin, wanted))
        return self._filtered.add(wanted, filtered, selection.size)

    async def _with_gtin(self, wanted: Filter, gtin: int) -> CodedProducts | None:
        products = self.gtins.having(gtin)
        if not 0 < len(products) <= MOST_PRODUCTS:
            return None
        images = await asyncio.to_thread(self._images_matching, wanted, products)
        if not len(images):
            return None
        search = await self.on_device(partial(GatherSearch, self.index, images))
        return coded_products(self, self.table, self.owners, images, partial(self._search, search))

    def _images_matching(self, wanted: Filter, products: NDArray[np.int64]) -> NDArray[np.int64]:
        """The vectors of those of `products` that match `wanted`."""
        if wanted:
            products = products[matching(wanted, self.columns)[products]]
        return images_of(self.owners, products)

    async def _search(
        self, search: Search, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        grouped = self.checked(queries, k, by_group)
        if self.adapter is not None:
            search = AdaptedSearch(self.adapter, search)
        return await self.on_device(partial(self._nearest.nearest, search, queries, k, grouped))

    async def _nothing(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        self.checked(queries, k, by_group)
        return [[] for _ in queries]

    def checked(self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None) -> Sequence[bool]:
        """`by_group` for each query. Raises `SightlineError` of kind INTERNAL for queries that do not fit."""
        return checked_grouping(queries, self.dimension, k, by_group)

    async def on_device(self, work: Callable[[], ValueT]) -> ValueT:
        """The result of `work`, run by the thread of the index.

        Raises `SightlineError` of kind INDEX_UNAVAILABLE when that fails or the index is closed.
        """
        if self._closed:
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index is closed", retry_after_s=1.0)
        try:
            return await self._device.run(work)
        except SightlineError:
            raise
        except Exception as error:  # the vector library raises whatever its device meets
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index failed", retry_after_s=1.0) from error


def moment_of(base: CatalogSnapshot) -> Moment:
    """The moment of the log that `base`, which is of a catalog with one, shows."""
    assert base.content is not None
    return base.content
