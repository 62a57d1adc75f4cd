"""Embeddings -> neighbours: one index call for the queries of many photos.

Rule: queries that want different numbers of products share the call; each gets its own number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour
from sightline_server.ports import ProductIndex


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """An embedding float32 [dimension], L2-normalised, and how many products it wants."""

    embedding: NDArray[np.float32]
    k: int


async def search(index: ProductIndex, queries: Sequence[VectorQuery]) -> list[list[Neighbour]]:
    """The nearest products of each query, nearest first."""
    stacked = np.stack([query.embedding for query in queries])
    found = await index.search(stacked, max(query.k for query in queries))
    return [neighbours[: query.k] for neighbours, query in zip(found, queries, strict=True)]
