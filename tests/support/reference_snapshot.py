"""A snapshot that is short enough to be right by reading: every product compared in plain numpy and Python.

It shares nothing with the indexes of the server but the forms of text that a filter compares, which have tests of their
own. What it lacks by `capabilities` it refuses.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.catalogs import Capability, check_capabilities
from sightline_server.domain.filter_text import filter_text
from sightline_server.domain.filters import AppliedFilter, Filter, FilterPlan, PlanKind, PriceRange
from sightline_server.domain.gtin import to_gtin
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.filters.texts import LEVELS, attribute_text, attribute_texts, category_path
from sightline_server.index.filters.texts import compared as text_form
from sightline_server.index.filters.texts import compared_name as name_form
from sightline_server.ports import CodedProducts, Snapshot

EVERYTHING = frozenset(Capability)
MOST_OF_A_GROUP = 100
MOST_WITH_A_GTIN = 100
SAME = 1e-6


class ReferenceSnapshot:
    """`ports.Snapshot` of `rows`; only those of `allowed` are returned."""

    name = "shop"
    built_at = "2026-01-02T03:04:05+00:00"
    self_check_recall = 1.0
    probes: Probes = NO_PROBES
    embedder = "reference"

    def __init__(
        self,
        rows: Sequence[CatalogRow],
        revision: str = "1",
        capabilities: frozenset[Capability] = EVERYTHING,
        *,
        allowed: frozenset[int] | None = None,
        applied_filter: AppliedFilter | None = None,
        dimension: int = 8,
    ) -> None:
        self.rows = rows
        self.revision = revision
        self.capabilities = capabilities
        self.applied_filter = applied_filter
        self.dimension = dimension
        self.product_count = len(rows)
        self._allowed = frozenset(range(len(rows))) if allowed is None else allowed
        self._vectors = [as_stored(row.embeddings) for row in rows]
        self._first_image = np.cumsum([0, *(len(row.images) for row in rows)]).tolist()
        self._filtered: dict[Filter, ReferenceSnapshot] = {}

    async def select(self, wanted: Filter) -> Snapshot:
        """See `ports.Snapshot`."""
        if not wanted:
            return self
        check_capabilities(self.capabilities, filtered=True, by_group=False)
        if self.applied_filter is not None:
            raise SightlineError(ErrorKind.INTERNAL, "a filtered snapshot is filtered again")
        if wanted not in self._filtered:
            allowed = frozenset(place for place, row in enumerate(self.rows) if matches(row, wanted))
            self._filtered[wanted] = self._restricted(allowed, wanted)
        return self._filtered[wanted]

    def _restricted(self, allowed: frozenset[int], wanted: Filter) -> "ReferenceSnapshot":
        images = sum(len(self.rows[place].images) for place in allowed)
        plan = FilterPlan(PlanKind.EXACT if allowed else PlanKind.NO_MATCH, len(allowed), images)
        applied = AppliedFilter(filter_text(wanted), plan) if wanted else self.applied_filter
        return ReferenceSnapshot(
            *(self.rows, self.revision, self.capabilities),
            allowed=allowed,
            applied_filter=applied,
            dimension=self.dimension,
        )

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        grouped = [False] * len(queries) if by_group is None else by_group
        if queries.ndim != 2 or queries.shape[1] != self.dimension or k < 1 or len(grouped) != len(queries):
            raise SightlineError(ErrorKind.INTERNAL, "a query does not fit the index")
        check_capabilities(self.capabilities, filtered=False, by_group=any(grouped))
        return [
            self._of_groups(self._ordered(query), k) if one else self._ordered(query)[:k]
            for query, one in zip(queries, grouped, strict=True)
        ]

    def _ordered(self, query: NDArray[np.float32]) -> list[Neighbour]:
        """Every product that may be returned, nearest first, of equal similarities the smallest id first."""
        found = sorted((self._neighbour(place, query) for place in self._allowed), key=lambda one: -one.similarity)
        ordered: list[Neighbour] = []
        while found:
            tied = [one for one in found if found[0].similarity - one.similarity <= SAME]
            ordered += sorted(tied, key=lambda one: one.product_id.encode())
            found = found[len(tied) :]
        return ordered

    def _neighbour(self, place: int, query: NDArray[np.float32] | None) -> Neighbour:
        product = self.rows[place].product
        similarities = np.zeros(1) if query is None else self._vectors[place] @ query
        best = int(np.flatnonzero(similarities >= similarities.max() - SAME)[0])
        image = self._first_image[place] + best
        similarity = float(np.clip(similarities.max(), -1, 1))
        group = self._group(product, place)
        return Neighbour(place, image, similarity, product.id, product.category, product.availability, group)

    def _group(self, product: Product, place: int) -> int:
        if not product.item_group_id:
            return place
        return next(first for first, row in enumerate(self.rows) if row.product.item_group_id == product.item_group_id)

    def _of_groups(self, ordered: list[Neighbour], k: int) -> list[Neighbour]:
        members: dict[int, int] = {}
        chosen: list[Neighbour] = []
        for one in ordered:
            members[one.group] = members.get(one.group, 0) + 1
            if len(members) > k:
                break
            if members[one.group] <= MOST_OF_A_GROUP:
                chosen.append(one)
        return chosen

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
        return any(to_gtin(row.product.gtin) for row in self.rows)

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """See `ports.Snapshot`."""
        having = [place for place, row in enumerate(self.rows) if to_gtin(row.product.gtin) == gtin]
        allowed = self._allowed.intersection(having)
        if not allowed or len(having) > MOST_WITH_A_GTIN:
            return None
        neighbours = tuple(self._neighbour(place, None) for place in sorted(allowed))
        return CodedProducts(self._restricted(allowed, Filter()), neighbours)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return [self.rows[place].product for place in rows]

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        links = [link for row in self.rows for link in row.images]
        return [links[image] for image in images]

    async def close(self) -> None:
        """Nothing to free."""


def as_stored(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors as a catalog stores them, float16, and of length 1."""
    stored = vectors.astype(np.float16).astype(np.float32)
    unit: NDArray[np.float32] = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    return unit


def matches(row: CatalogRow, wanted: Filter) -> bool:
    """Returns whether a product meets every condition that is set."""
    return all(conditions(row, wanted))


def conditions(row: CatalogRow, wanted: Filter) -> Iterator[bool]:
    """The result of each condition that is set: true where the product meets it."""
    product = row.product
    if wanted.brands:
        yield bool(text_form(product.brand)) and text_form(product.brand) in map(text_form, wanted.brands)
    if wanted.categories:
        path = category_path(product.category) + LEVELS
        yield any(text and path.startswith(text + LEVELS) for text in map(category_path, wanted.categories))
    if wanted.prices:
        yield any(priced(row, prices) for prices in wanted.prices)
    if wanted.availabilities:
        stated = name_form(product.availability)
        yield bool(stated) and stated in map(name_form, wanted.availabilities)
    texts = {text for name, value in product.attributes.items() for text in attribute_texts(name, value)}
    for attribute in wanted.attributes:
        yield not texts.isdisjoint(attribute_text(attribute.name, value) for value in attribute.values)
    if wanted.product_ids:
        yield product.id in wanted.product_ids
    if wanted.item_group_ids:
        yield bool(product.item_group_id) and product.item_group_id in wanted.item_group_ids
    yield product.id not in wanted.excluded_product_ids
    yield not product.item_group_id or product.item_group_id not in wanted.excluded_item_group_ids


def priced(row: CatalogRow, prices: PriceRange) -> bool:
    """Returns whether a product's price is in the range."""
    if row.price is None or row.price.currency != prices.currency:
        return False
    above = prices.minimum is None or row.price.amount >= prices.minimum
    return above and (prices.maximum is None or row.price.amount <= prices.maximum)


if TYPE_CHECKING:
    _snapshot: Snapshot = ReferenceSnapshot(())
