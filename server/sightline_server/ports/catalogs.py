"""The catalogs that are searched, by name."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import Capability
from sightline_server.domain.filters import AppliedFilter, Filter
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.domain.probes import Probes
from sightline_server.domain.verdict import Verdict
from sightline_server.domain.weights import Weights


class ImageFeatures(Protocol):
    """The local features that a catalog keeps of its images."""

    def of(self, images: Sequence[tuple[str, str]]) -> list[LocalFeatures | None]:
        """Those of each image, by the id of its product and its link; None where none are kept. Blocking.

        Any thread may call it. Raises `SightlineError`.
        """


class Snapshot(Protocol):
    """One revision of one catalog: immutable, and complete for as long as its lease is held."""

    @property
    def name(self) -> str:
        """The catalog's name, as requests give it."""

    @property
    def revision(self) -> str:
        """The version of the catalog."""

    @property
    def built_at(self) -> str:
        """The build time of this revision, in ISO 8601."""

    @property
    def embedder(self) -> str:
        """Identity of the embedder that made its vectors, as the engine that serves it names it."""

    @property
    def dimension(self) -> int:
        """Length of its vectors."""

    @property
    def product_count(self) -> int:
        """The number of products."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of its index."""

    @property
    def self_check_recall(self) -> float:
        """recall@10 of the index against exact search, measured on probes from the catalog when it was opened."""

    @property
    def probes(self) -> Probes:
        """Queries with their exact answers in this revision, for its live recall; none where it is restricted."""

    @property
    def applied_filter(self) -> AppliedFilter | None:
        """The filter that restricts what `nearest` returns; None where every product may be returned."""

    async def select(self, wanted: Filter) -> "Snapshot":
        """This revision, restricted to the products that match `wanted`; itself where that sets no condition.

        It is covered by this snapshot's lease. Equal filters give the same snapshot as long as it is remembered, so
        that their queries share a batch. Raises `SightlineError` of kind INDEX_UNAVAILABLE, or FILTER_UNSUPPORTED
        where the index has not the capability FILTERS, or not for these conditions.
        """

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """For each of the queries [B,dimension], L2-normalised, its `k` nearest products, nearest first.

        A product counts once, by its closest image; equal similarities are ordered by product id. Fewer than `k`
        come back only when the catalog has no more, or no more that match the filter. For a query whose `by_group` is
        true, `k` counts item groups: its answer is every product nearer than the first one of group `k` + 1, at most
        100 products of a group. Raises `SightlineError` of kind INDEX_UNAVAILABLE, or GROUPS_UNSUPPORTED for item
        groups where the index has not the capability ITEM_GROUPS.
        """

    @property
    def has_gtins(self) -> bool:
        """True if at least one product may have a GTIN."""

    async def with_gtin(self, gtin: int) -> "CodedProducts | None":
        """The products that have `gtin` (`domain.gtin`) and match the filter; None where there are none, or too many.

        They are covered by this snapshot's lease. Raises `SightlineError` of kind INDEX_UNAVAILABLE.
        """

    @property
    def local_features(self) -> ImageFeatures | None:
        """The local features of its images; None for a catalog that keeps none."""

    @property
    def weights(self) -> Weights | None:
        """The weights of its ranking that were fitted for it; None where those of its embedder count."""

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on first products that was fitted for it; None where the settings decide on the level."""

    def products(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`, which are those of neighbours."""

    def image_links(self, images: Sequence[int]) -> list[str]:
        """The links of `images`, which are those of neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedProducts:
    """The products of one revision that have the GTIN of a code.

    `snapshot` is the revision restricted to them. `neighbours` are all of them without a comparison: the similarity of
    each is 0, and its image is its first one.
    """

    snapshot: Snapshot
    neighbours: tuple[Neighbour, ...]


class Catalogs(Protocol):
    """The catalogs that are served, by name."""

    def lease(self, granted: CatalogPass) -> AbstractContextManager[Snapshot]:
        """Holds the current revision of the pass's catalog for the length of the block, also when it is replaced.

        Raises `SightlineError` of kind UNKNOWN_CATALOG, or INDEX_UNAVAILABLE while the server that holds it is away.
        """

    def embedders(self, granted: CatalogPass) -> Mapping[str, str]:
        """The identity of the embedder of each catalog that the pass shows and that can be searched, by its name."""
