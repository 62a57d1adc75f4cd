"""A catalog at one number, as a call sees it from its lease to its end.

Rule: making one copies nothing. It reads arrays that grow while it lives, and never beyond its extent.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AppliedFilter, Filter, PlanKind
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.index.adapter import AdaptedSearch
from sightline_server.index.coded import coded_products, images_of
from sightline_server.index.filtered import FilteredSnapshot, FilteredSnapshots
from sightline_server.index.filters.searches import GatherSearch
from sightline_server.index.gtins import MOST_PRODUCTS
from sightline_server.index.live.coded import any_gtin, slots_having
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.matching import LiveMatching
from sightline_server.index.live.searches import LiveSearch, PartsSearch
from sightline_server.index.live.selecting import live_search_of, selection_of
from sightline_server.index.live.state import LiveState
from sightline_server.index.live.table import LiveTable
from sightline_server.index.nearest import NearestProducts
from sightline_server.index.vectors import Search
from sightline_server.ports import CodedProducts, Snapshot

NO_FILTER = Filter()


class LiveView:
    """`ports.Snapshot`: what `extent` reaches of `state`, under the name `revision`."""

    def __init__(self, state: LiveState, match: LiveMatching, extent: Extent, revision: str, built_at: str) -> None:
        base = state.base
        self.name = base.name
        self.revision = revision
        self.built_at = built_at
        self.embedder = base.embedder
        self.dimension = base.dimension
        self.product_count = extent.products
        self.capabilities = base.capabilities
        self.self_check_recall = base.self_check_recall
        self.local_features = base.local_features
        self.weights = base.weights
        self.verdict = base.verdict
        self.applied_filter: AppliedFilter | None = None
        self.extent = extent
        self.state = state
        self.match = match
        self._filtered = FilteredSnapshots()

    @property
    def probes(self) -> Probes:
        """See `ports.Snapshot`: those of the base as long as nothing was written since."""
        return self.state.base.probes if self.extent.rows == self.state.base_products and self._whole else NO_PROBES

    @property
    def _whole(self) -> bool:
        return self.extent.products == self.state.base_products

    async def select(self, wanted: Filter) -> Snapshot:
        """See `ports.Snapshot`."""
        if not wanted:
            return self
        return self._filtered.get(wanted) or await self._select(wanted)

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        return await self._search(LiveSearch(self.state, self.extent), queries, k, by_group)

    @property
    def has_gtins(self) -> bool:
        """See `ports.Snapshot`."""
        return any_gtin(self.state, self.extent)

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """See `ports.Snapshot`."""
        return await self._with_gtin(NO_FILTER, gtin)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return self._table.take(rows)

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        return self._table.image_links(images)

    async def close(self) -> None:
        """Waits for the searches that were asked before, then frees the base. Later searches are refused."""
        await self.state.base.close()

    @property
    def _table(self) -> LiveTable:
        return LiveTable(self.state, self.extent.number)

    async def _select(self, wanted: Filter) -> Snapshot:
        selection = await asyncio.to_thread(selection_of, wanted, self.match, self.state, self.extent)
        applied = AppliedFilter(filter_text(wanted), selection.plan)
        if selection.plan.kind is PlanKind.NO_MATCH:
            return self._filtered.add(wanted, FilteredSnapshot(self, applied, self._nothing), selection.size)
        search = await self.state.base.on_device(partial(live_search_of, selection, self.state, self.extent))
        filtered = FilteredSnapshot(self, applied, partial(self._search, search), partial(self._with_gtin, wanted))
        return self._filtered.add(wanted, filtered, selection.size)

    async def _with_gtin(self, wanted: Filter, gtin: int) -> CodedProducts | None:
        slots = slots_having(self.state, self.extent, gtin)
        if not 0 < len(slots) <= MOST_PRODUCTS:
            return None
        images = await asyncio.to_thread(self._images_matching, wanted, slots)
        if not len(images):
            return None
        search = await self.state.base.on_device(partial(gathered, self.state, images))
        owners = self.state.owners.values[: self.extent.vectors]
        return coded_products(self, self._table, owners, images, partial(self._search, search))

    def _images_matching(self, wanted: Filter, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The vectors of those of `slots` that match `wanted`."""
        if wanted:
            slots = slots[self.match.products(wanted, self.extent)[slots]]
        return images_of(self.state.owners.values[: self.extent.vectors], slots)

    async def _search(
        self, search: Search, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        grouped = self.state.base.checked(queries, k, by_group)
        if not search.max_k:
            return [[] for _ in queries]
        owners = self.state.owners.values[: self.extent.vectors]
        near = NearestProducts(self._table, owners, self.extent.max_images)
        if (adapter := self.state.base.adapter) is not None:
            search = AdaptedSearch(adapter, search)
        return await self.state.base.on_device(partial(near.nearest, search, queries, k, grouped))

    async def _nothing(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        self.state.base.checked(queries, k, by_group)
        return [[] for _ in queries]


def gathered(state: LiveState, images: NDArray[np.int64]) -> Search:
    """The search over some vectors of `state`; for the thread that owns the index of the base."""
    base, written = images[images < state.base_images], images[images >= state.base_images] - state.base_images
    return PartsSearch(state, GatherSearch(state.base.index, base) if len(base) else None, len(base), written)


def base_of(snapshot: Snapshot) -> Snapshot:
    """The base of a view, without what was written since; another snapshot itself.

    Its probes have exact answers for as long as it is served. The lease of the view covers it.
    """
    return snapshot.state.base if isinstance(snapshot, LiveView) else snapshot
