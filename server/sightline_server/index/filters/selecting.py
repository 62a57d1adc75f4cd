"""A filter -> the search over what matches it, with the plan behind it.

Rule: matching needs no index and runs in any thread; only what copies vectors belongs to the thread of the index.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter, FilterPlan, PlanKind
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.matching import matching
from sightline_server.index.filters.planner import PlanLimits, plan_kind
from sightline_server.index.filters.searches import BatchedSearch, ExactSearch, GatherSearch, SelectorSearch
from sightline_server.index.vectors import Search, VectorIndex


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A filter's matches: `allowed` is a mask of the vectors, bool [V]; empty where every vector or none matches."""

    plan: FilterPlan
    allowed: NDArray[np.bool_]
    dimension: int

    @property
    def size(self) -> int:
        """Bytes that its search holds, about."""
        match self.plan.kind:
            case PlanKind.GATHER:
                return self.plan.images * (8 + 4 * self.dimension)
            case PlanKind.EXACT:
                return 8 * self.plan.images
            case PlanKind.SELECTOR:
                return self.allowed.nbytes + 8 * self.plan.images
            case _:
                return 0


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """Applies filters to one revision: vector v is of product row `owners[v]`, int32 [V].

    `selects` says whether the index of the revision applies selectors.
    """

    columns: FilterColumns
    owners: NDArray[np.int32]
    dimension: int
    selects: bool
    limits: PlanLimits

    def selection(self, wanted: Filter) -> Selection:
        """The matches of `wanted`; takes milliseconds in a catalog of a million products."""
        products = matching(wanted, self.columns)
        allowed = products[self.owners]
        images = int(np.count_nonzero(allowed))
        kind = plan_kind(
            images=images,
            all_images=len(self.owners),
            dimension=self.dimension,
            selects=self.selects,
            limits=self.limits,
        )
        kept = allowed if kind not in (PlanKind.NO_MATCH, PlanKind.ALL) else np.empty(0, bool)
        return Selection(FilterPlan(kind, int(np.count_nonzero(products)), images), kept, self.dimension)


def in_parts(selection: Selection, index: VectorIndex) -> ExactSearch:
    """The search that compares every match, part by part."""
    return ExactSearch(index, np.flatnonzero(selection.allowed), selection.dimension)


def search_of(selection: Selection, index: VectorIndex, limits: PlanLimits) -> Search:
    """The search of `selection` by the index of its revision, with its limits; for the thread that owns it."""
    match selection.plan.kind:
        case PlanKind.GATHER:
            return GatherSearch(index, np.flatnonzero(selection.allowed))
        case PlanKind.SELECTOR:
            selector = SelectorSearch(index, selection.allowed, selection.plan.images)
            if not index.exact:
                return selector
            return BatchedSearch(selector, in_parts(selection, index), limits.parts_from_queries)
        case PlanKind.EXACT:
            return in_parts(selection, index)
        case PlanKind.ALL:
            return index
        case PlanKind.NO_MATCH:
            raise ValueError("nothing matches, so there is nothing to search")
