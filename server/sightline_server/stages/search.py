"""Embeddings -> neighbours: one index call for the queries of many photos.

Rule: queries that want different numbers of products, with and without item groups, share the call; each gets what it
would get alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.ports import ProductIndex


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """An embedding float32 [dimension], L2-normalised, and how many products it wants; with `by_group`, item groups."""

    embedding: NDArray[np.float32]
    k: int
    by_group: bool = False


async def search(index: ProductIndex, queries: Sequence[VectorQuery]) -> list[list[Neighbour]]:
    """The nearest products of each query, nearest first."""
    stacked = np.stack([query.embedding for query in queries])
    by_group = [query.by_group for query in queries]
    found = await index.search(stacked, max(query.k for query in queries), by_group)
    return [
        first_groups(neighbours, query.k) if query.by_group else neighbours[: query.k]
        for neighbours, query in zip(found, queries, strict=True)
    ]


def first_groups(neighbours: list[Neighbour], k: int) -> list[Neighbour]:
    """The neighbours, nearest first, up to the first one of group `k` + 1."""
    groups: set[tuple[str, str]] = set()
    for place, neighbour in enumerate(neighbours):
        groups.add(neighbour.product.group)
        if len(groups) > k:
            return neighbours[:place]
    return neighbours
