"""Embeddings -> neighbours: one index call for the queries of many photos on one snapshot.

Rule: queries that want different numbers of products, with and without item groups, share the call; each gets what it
would get alone. A snapshot that fails fails its own queries only.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.errors import SightlineError
from sightline_server.ports import Snapshot

Found = list[Neighbour] | SightlineError
"""The neighbours of one query, nearest first, or the reason for which its snapshot could not be searched."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorQuery:
    """An embedding float32 [dimension], L2-normalised, and how many products it wants of `snapshot`.

    With `by_group`, `k` counts item groups. The caller holds the snapshot's lease.
    """

    snapshot: Snapshot
    embedding: NDArray[np.float32]
    k: int
    by_group: bool = False


async def search(queries: Sequence[VectorQuery]) -> list[Found]:
    """The nearest products of each query, nearest first, or the error of its snapshot."""
    places: dict[int, list[int]] = {}
    for place, query in enumerate(queries):
        places.setdefault(id(query.snapshot), []).append(place)
    if len(places) == 1:
        return list(await search_one(queries))
    parts = list(places.values())
    answers = await asyncio.gather(*(search_one([queries[place] for place in part]) for part in parts))
    found: dict[int, Found] = {}
    for part, answer in zip(parts, answers, strict=True):
        found.update(zip(part, answer, strict=True))
    return [found[place] for place in range(len(queries))]


async def search_one(queries: Sequence[VectorQuery]) -> Sequence[Found]:
    """`search` for queries on one snapshot."""
    stacked = np.stack([query.embedding for query in queries])
    by_group = [query.by_group for query in queries]
    try:
        found = await queries[0].snapshot.nearest(stacked, max(query.k for query in queries), by_group)
    except SightlineError as error:
        return [error] * len(queries)
    return [
        first_groups(neighbours, query.k) if query.by_group else neighbours[: query.k]
        for neighbours, query in zip(found, queries, strict=True)
    ]


def first_groups(neighbours: list[Neighbour], k: int) -> list[Neighbour]:
    """The neighbours, nearest first, up to the first one of group `k` + 1."""
    groups: set[int] = set()
    for place, neighbour in enumerate(neighbours):
        groups.add(neighbour.group)
        if len(groups) > k:
            return neighbours[:place]
    return neighbours
