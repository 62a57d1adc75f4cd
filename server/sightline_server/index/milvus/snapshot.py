"""One revision of a catalog in Milvus.

    queries -> nearest image rows, with what ranks their products -> nearest products -> their shown fields
Rule: every call of Milvus runs in a thread. Products of an answer are read with it and kept for as long as a call may
take, so that `products` never waits. Of a collection that is written a snapshot shows what was acknowledged before its
lease, as far as Milvus still has it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.catalogs import Capability
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AppliedFilter, Filter, FilterPlan, PlanKind
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.filtered import FilteredSnapshot, FilteredSnapshots
from sightline_server.index.gtins import MOST_PRODUCTS
from sightline_server.index.milvus.client import BOUNDED, MOST_HITS, RETRY_S, UNCHANGED, Milvus
from sightline_server.index.milvus.expressions import NOTHING, both, expression
from sightline_server.index.milvus.facts import CollectionFacts
from sightline_server.index.milvus.fields import PRIMARY, RANKED, SHOWN
from sightline_server.index.milvus.nearest import Found, nearest_products
from sightline_server.index.milvus.reach import Reach
from sightline_server.index.milvus.shown import ShownProducts
from sightline_server.index.nearest import checked_grouping
from sightline_server.index.products import product_of
from sightline_server.index.schema import DISPLAY_COLUMNS, MAX_IMAGES, CatalogFacts
from sightline_server.ports import CodedProducts, Snapshot

ValueT = TypeVar("ValueT")
NEEDED = (PRIMARY, *SHOWN)


@dataclass(frozen=True, slots=True)
class Moment:
    """The content of a collection that is written at one moment: `reach` of its rows, under the name `revision`."""

    revision: str
    built_at: str
    products: int
    reach: Reach


class Life:
    """The state that the snapshots of one opening share: closed or not, and the products that they keep."""

    def __init__(self) -> None:
        self.closed = False
        self.shown = ShownProducts()


class MilvusSnapshot:
    """`ports.Snapshot` over the collection `collection`, whose facts were checked. It has so many `products` now."""

    def __init__(
        self,
        name: str,
        collection: str,
        facts: CollectionFacts,
        stored: CatalogFacts,
        milvus: Milvus,
        recall: float,
        products: int,
        *,
        moment: Moment | None = None,
        life: Life | None = None,
    ) -> None:
        self.name = name
        self.revision = moment.revision if moment else facts.revision
        self.built_at = moment.built_at if moment else stored.built_at
        self.embedder = stored.embedder.identity
        self.dimension = stored.embedder.dimension
        self.product_count = moment.products if moment else products
        exact = (Capability.EXACT,) if facts.index == "FLAT" else ()
        self.capabilities = frozenset({Capability.ITEM_GROUPS, Capability.FILTERS, *exact})
        self.self_check_recall = recall
        self.probes: Probes = NO_PROBES
        self.applied_filter: AppliedFilter | None = None
        self.collection = collection
        self.facts = facts
        self._stored = stored
        self._milvus = milvus
        self._filtered = FilteredSnapshots()
        self._life = life or Life()
        self._shown = self._life.shown
        self._reach = moment.reach if moment else None
        self._consistency = BOUNDED if facts.writable else UNCHANGED

    @property
    def content_sha256(self) -> str:
        """The digest of the catalog that was pushed."""
        return self._stored.content_sha256

    def at(self, moment: Moment) -> "MilvusSnapshot":
        """The same collection at a moment, for as long as this snapshot is open."""
        given = (self.name, self.collection, self.facts, self._stored, self._milvus, self.self_check_recall)
        return MilvusSnapshot(*given, moment.products, moment=moment, life=self._life)

    def forget_filters(self) -> None:
        """Counts the matches of filters again: another process may have written. For the event loop."""
        if self.facts.writable:
            self._filtered.clear()

    async def select(self, wanted: Filter) -> Snapshot:
        """See `ports.Snapshot`."""
        if not wanted:
            return self
        return self._filtered.get(wanted) or await self._select(wanted)

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        return await self._search("", queries, k, by_group)

    @property
    def local_features(self) -> None:
        """None: only catalogs in folders keep local features."""

    @property
    def weights(self) -> None:
        """None: only catalogs in folders have their own weights."""

    @property
    def verdict(self) -> None:
        """None: only catalogs in folders have their own verdict."""

    @property
    def has_gtins(self) -> bool:
        """See `ports.Snapshot`."""
        return self.facts.gtins > 0 or self.facts.writable

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """See `ports.Snapshot`."""
        return await self._with_gtin("", None, gtin)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return self._shown.products(rows)

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        return self._shown.links(images)

    async def close(self) -> None:
        """Refuses later searches. The collection stays in Milvus, where other servers may search it."""
        self._life.closed = True
        self._filtered.clear()

    async def _select(self, wanted: Filter) -> Snapshot:
        rows = expression(wanted)
        images = 0 if rows == NOTHING else await self._count(rows)
        products = await self._count(both(rows, "first_image == 1")) if images else 0
        kind = PlanKind.SELECTOR if images else PlanKind.NO_MATCH
        if images == self.facts.images and not self.facts.writable:
            kind, rows = PlanKind.ALL, ""
        applied = AppliedFilter(filter_text(wanted), FilterPlan(kind, products, images))
        if not images:
            return self._filtered.add(wanted, FilteredSnapshot(self, applied, self._nothing), 0)
        filtered = FilteredSnapshot(self, applied, partial(self._search, rows), partial(self._with_gtin, rows, applied))
        return self._filtered.add(wanted, filtered, len(rows))

    async def _count(self, rows: str) -> int:
        return await self._call(self._milvus.count, self.collection, rows, consistency=self._consistency)

    async def _search(
        self, rows: str, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        grouped = checked_grouping(queries, self.dimension, k, by_group)
        return await self._call(self._searched, rows, queries, k, grouped)

    def _searched(
        self, rows: str, queries: NDArray[np.float32], k: int, grouped: Sequence[bool]
    ) -> list[list[Neighbour]]:
        def search(part: NDArray[np.float32], count: int) -> list[list[Found]]:
            answers = self._milvus.search(self.collection, part, count, rows, RANKED, consistency=self._consistency)
            return [[Found.of(hit) for hit in hits] for hits in answers]

        most, max_images = min(self.facts.images, MOST_HITS), self.facts.max_images
        if self.facts.writable:
            most, max_images = MOST_HITS, MAX_IMAGES
        found = nearest_products(search, queries, k, grouped, max_images=max_images, most=most, shown=self._visible)
        images = {each.image for hits in found for each in hits}
        self._read(images)
        if self.facts.writable and (gone := set(self._shown.missing(images))):
            # Deleted between the search and the reading of what it shows.
            found = [[each for each in hits if each.image not in gone] for hits in found]
        return found

    def _visible(self, found: Sequence[Found]) -> Sequence[Found]:
        """The rows that may be shown at this moment."""
        reach = self._reach
        if reach is None:
            return latest(found) if self.facts.writable else found
        return [each for each in found if not reach.hides(each.product_id, each.image)]

    def _read(self, images: set[int]) -> None:
        """Reads what is shown of `images` and keeps it; blocking."""
        missing = sorted(self._shown.missing(images))
        for start in range(0, len(missing), MOST_HITS):
            part = missing[start : start + MOST_HITS]
            self._keep(self._query(f"{PRIMARY} in {part}", NEEDED))

    def _query(self, rows: str, names: Sequence[str], limit: int = MOST_HITS) -> list[Mapping[str, Any]]:
        """The fields `names`, which include the number and the id, of rows that may be shown; blocking."""
        found = self._milvus.query(self.collection, rows, names, limit=limit, consistency=self._consistency)
        reach = self._reach
        return found if reach is None else [row for row in found if not reach.hides(row["id"], row[PRIMARY])]

    def _keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            product = product_of({name: row[name] for name in DISPLAY_COLUMNS})
            self._shown.keep(row[PRIMARY], row["link_of_image"], row["product"], product)

    async def _with_gtin(self, rows: str, applied: AppliedFilter | None, gtin: int) -> CodedProducts | None:
        having = f"gtin_number == {gtin}"
        first = both(having, "first_image == 1")
        # Of a collection that is written, rows that are hidden count towards the limit of the call.
        limit = MOST_HITS if self.facts.writable else MOST_PRODUCTS + 1
        firsts = await self._call(self._query, first, [PRIMARY, "id", "product"], limit)
        if not 0 < len(firsts) <= MOST_PRODUCTS:
            return None
        matching = both(rows, having)
        names = [*NEEDED, "item_group"]
        found = await self._call(self._query, both(matching, "first_image == 1"), names)
        if not found:
            return None
        self._keep(found)
        neighbours = [
            Found.of({**row, "distance": 0.0}).neighbour(0.0)
            for row in sorted(found, key=lambda row: int(row["product"]))
        ]
        return CodedProducts(FilteredSnapshot(self, applied, partial(self._search, matching)), tuple(neighbours))

    async def _nothing(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None
    ) -> list[list[Neighbour]]:
        checked_grouping(queries, self.dimension, k, by_group)
        return [[] for _ in queries]

    async def _call(self, work: Callable[..., ValueT], *args: Any, **options: Any) -> ValueT:
        """The result of `work` in a thread. Raises `SightlineError` of kind INDEX_UNAVAILABLE after `close`."""
        if self._life.closed:
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index is closed", retry_after_s=1.0)
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(self._milvus.threads, partial(work, *args, **options))
        except RuntimeError as error:  # the connection was closed, because Milvus is away
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index is away", retry_after_s=RETRY_S) from error
        return await running


def latest(found: Sequence[Found]) -> Sequence[Found]:
    """The rows without those of a product that another row of `found` has in a later version.

    For a process that does not write: both are there for some seconds after a write.
    """
    versions: dict[str, int] = {}
    for each in found:
        versions[each.product_id] = max(each.product, versions.get(each.product_id, each.product))
    return [each for each in found if each.product == versions[each.product_id]]
