"""Products of a catalog in Milvus that are deleted one by one, each searched for as soon as that is acknowledged.

Rule: a search that begins after the acknowledgement of a deletion must not return the product, whatever happens to
Milvus in between. A deletion that was refused is sent again until it is acknowledged.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_scale.shop import name_of
from load_tests.milvus_scale.shops import WRITTEN
from sightline_client import AsyncCatalogClient, AsyncClient, SightlineError

PAUSE_S = 0.25
DEADLINE_S = 30.0
ASKED = 8
"""Deleted products for which one call searches."""
MANY = 50
"""Products that an answer has at most: the deleted one would be its first."""


@dataclass(slots=True)
class Deletions:
    """The deletions so far and what searches saw of them. `vectors` float32 [P,D] are those of the products."""

    search: AsyncClient
    catalog: AsyncCatalogClient
    embedder: str
    vectors: NDArray[np.float32] = field(repr=False)
    acknowledged: list[int] = field(default_factory=list)
    refused: int = 0
    """Deletions and searches that got UNAVAILABLE with RetryInfo."""
    searches: int = 0
    seen: list[str] = field(default_factory=list)
    """Products that a search returned after their deletion was acknowledged."""
    errors: list[str] = field(default_factory=list)
    """Every other error."""

    async def run(self, over: asyncio.Event) -> None:
        """Deletes until `over`, or until no product is left."""
        choice = random.Random(0)
        for number in range(len(self.vectors) - 1):
            while not over.is_set() and not await self._deleted(number):  # noqa: ASYNC110 (a refused call is sent again)
                await asyncio.sleep(PAUSE_S)
            if over.is_set():
                return
            self.acknowledged.append(number)
            earlier = choice.sample(self.acknowledged, min(ASKED - 1, len(self.acknowledged)))
            await self._look_for([number, *earlier])
            await asyncio.sleep(PAUSE_S)

    async def look_for_all(self) -> None:
        """Searches for every product whose deletion was acknowledged."""
        for start in range(0, len(self.acknowledged), ASKED):
            await self._look_for(self.acknowledged[start : start + ASKED])

    async def _deleted(self, number: int) -> bool:
        try:
            [status] = await self.catalog.delete(WRITTEN, [name_of(number)], allow_missing=True, timeout_s=DEADLINE_S)
        except SightlineError as error:
            self._refusal(error)
            return False
        if status.error is not None:
            self._refusal(status.error)
        return status.ok

    async def _look_for(self, numbers: Sequence[int]) -> None:
        gone = {name_of(number) for number in self.acknowledged}
        try:
            answer = await self.search.find_embeddings(
                [self.vectors[number].tobytes() for number in numbers],
                embedder=self.embedder,
                catalog=WRITTEN,
                max_products=MANY,
                timeout_s=DEADLINE_S,
            )
        except SightlineError as error:
            self._refusal(error)
            return
        self.searches += 1
        returned = {each.product.id for item in answer.objects for each in item.products}
        self.seen += sorted(returned & gone)

    def _refusal(self, error: SightlineError) -> None:
        if error.code == "UNAVAILABLE" and error.retry_after_s is not None:
            self.refused += 1
        else:
            self.errors.append(error.one_line())
