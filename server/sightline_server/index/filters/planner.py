"""The number of vectors that match -> the way to search them.

Rule: the choice depends on the revision and the filter alone, so that calls with one filter share their batches, and
the answer says which way was taken. `python -m load_tests.filter_plans` measures where the ways cross.
"""

import sys
from dataclasses import dataclass

from sightline_server.domain.filters import PlanKind


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """`gather_bytes`: of float32 vectors that are copied for one filter and kept with it.

    Measured on 20,000 x 1280 and 100,000 x 256 and one core (docs/guide/filters.md): once copied, vectors are searched
    faster than by a selector at every selectivity. Copying them costs a single query more than the selector from 5 % of
    the catalog on, so the limit is one of memory and of how long a copy stops other searches, about 20 ms.
    """

    gather_bytes: int = 32 * 1024 * 1024
    gather_bytes_beside_selectors: int = gather_bytes
    """The same where the index applies selectors, if that is less."""
    selector_from: int = 0
    """Matching vectors from which on an index that applies selectors is used; fewer are compared all. Measured for an
    approximate index when it was chosen; exact ones need none."""
    parts_from_queries: int = 6
    """From so many queries on, copies in parts are faster than a selector of an exact index at every selectivity
    (docs/guide/filters.md): FAISS compares query by query on a CPU, and the parts are matrix products."""


GPU_LIMITS = PlanLimits(gather_bytes_beside_selectors=512 * 1024, parts_from_queries=sys.maxsize)
"""On a GPU with cuVS a selector is faster at every batch size than a comparison on the CPU, whose copies must come over
the bus first; only a few vectors, once copied, are faster (`python -m load_tests.gpu.plans`)."""


def plan_kind(*, images: int, all_images: int, dimension: int, selects: bool, limits: PlanLimits) -> PlanKind:
    """The way to search `images` of `all_images` vectors; `selects` says whether the index applies selectors."""
    if not images:
        return PlanKind.NO_MATCH
    if images == all_images:
        return PlanKind.ALL
    copied = min(limits.gather_bytes, limits.gather_bytes_beside_selectors) if selects else limits.gather_bytes
    if 4 * images * dimension <= copied:
        return PlanKind.GATHER
    return PlanKind.SELECTOR if selects and images >= limits.selector_from else PlanKind.EXACT
