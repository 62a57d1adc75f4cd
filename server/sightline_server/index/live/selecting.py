"""A filter -> the search over what matches it in a view, with the plan that a catalog built with this content has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter, FilterPlan, PlanKind
from sightline_server.index.filters.planner import plan_kind
from sightline_server.index.filters.selecting import Selection, search_of
from sightline_server.index.live.extent import Extent
from sightline_server.index.live.matching import LiveMatching
from sightline_server.index.live.searches import LiveSearch, PartsSearch
from sightline_server.index.live.state import LiveState
from sightline_server.index.vectors import Search


@dataclass(frozen=True, slots=True, eq=False)
class LiveSelection:
    """The matches of a filter in a view: a selection of the base, and the vectors [N] that were written since."""

    plan: FilterPlan
    base: Selection
    written: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Bytes that its search holds, about."""
        return self.base.size + len(self.written) * (8 + 4 * self.base.dimension)


def selection_of(wanted: Filter, match: LiveMatching, state: LiveState, extent: Extent) -> LiveSelection:
    """The matches of `wanted` in the view of `extent`; takes milliseconds."""
    products = match.products(wanted, extent)
    allowed = products[state.owners.values[: extent.vectors]]
    plan = planned(state, int(products.sum()), int(allowed.sum()), extent.images)
    base = allowed[: state.base_images]
    kept = planned(state, plan.products, int(base.sum()), state.base_images)
    mask = base if kept.kind not in (PlanKind.NO_MATCH, PlanKind.ALL) else np.empty(0, bool)
    return LiveSelection(
        plan, Selection(kept, mask, state.base.index_dimension), np.flatnonzero(allowed[state.base_images :])
    )


def planned(state: LiveState, products: int, images: int, all_images: int) -> FilterPlan:
    """The plan for `images` of `all_images` vectors."""
    base = state.base
    kind = plan_kind(
        images=images, all_images=all_images, dimension=base.index_dimension, selects=base.selects, limits=base.limits
    )
    return FilterPlan(kind, products, images)


def live_search_of(selection: LiveSelection, state: LiveState, extent: Extent) -> Search:
    """The search of `selection`; for the thread that owns the index of the base."""
    if selection.plan.kind is PlanKind.ALL:
        return LiveSearch(state, extent)
    kept = selection.base
    search = None if kept.plan.kind is PlanKind.NO_MATCH else search_of(kept, state.base.index, state.base.limits)
    return PartsSearch(state, search, kept.plan.images, selection.written)
