"""Products that were just acknowledged, asked for by callers: read, and searched with the image that they resemble.

Rule: the search is limited to the product by a filter. A product counts as found when a search that was started after
its acknowledgement returns it with the title that was acknowledged, or a later one.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from load_tests.catalog_churn.shop import NAME, Seeds, name_of
from load_tests.catalog_churn.writing import Writing, number_of
from sightline_client import AsyncCatalogClient, AsyncClient, Box, Filter, SightlineError

GIVE_UP_S = 10.0
BUILT = -1
"""The number of a product that was not written."""


@dataclass(slots=True)
class Finding:
    """Seconds from an acknowledgement until a search had returned the product, and what went wrong."""

    found_s: list[float] = field(default_factory=list)
    repeated: int = 0
    """Searches that did not return the product, although it was acknowledged before they began."""
    missed: int = 0
    """Products that no search returned within `GIVE_UP_S`."""
    stale: int = 0
    """Products that were read, after their acknowledgement, as they had been before it."""
    unanswered: list[str] = field(default_factory=list)
    """Errors of calls, such as a refusal under overload."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Checks a product every `every_s` seconds."""

    seeds: Seeds
    search: AsyncClient
    catalog: AsyncCatalogClient
    every_s: float

    async def run(self, streams: Sequence[Writing], seconds: float) -> Finding:
        """Checks the next acknowledgement of the streams in turn for `seconds`; a product of the base without any."""
        finding, turn, until = Finding(), 0, time.monotonic() + seconds
        while (left_s := until - time.monotonic() - self.every_s) > 0:
            await asyncio.sleep(self.every_s)
            if not streams:
                await self._check(name_of(0), BUILT, 0, time.monotonic(), finding)
                continue
            with suppress(TimeoutError):
                found = await asyncio.wait_for(streams[turn % len(streams)].next(), left_s)
                made = found.made
                await self._check(made.product.id, made.number, made.seed, found.at, finding)
            turn += 1
        return finding

    async def _check(self, product_id: str, number: int, seed: int, at: float, finding: Finding) -> None:
        try:
            read = await self.catalog.get(NAME, product_id)
            finding.stale += number_of(read.title) < number
            while not await self._returned(product_id, number, seed):
                finding.repeated += 1
                if time.monotonic() - at > GIVE_UP_S:
                    finding.missed += 1
                    return
            finding.found_s.append(time.monotonic() - at)
        except SightlineError as error:
            finding.unanswered.append(str(error))

    async def _returned(self, product_id: str, number: int, seed: int) -> bool:
        """One search; returns whether the product was there as it was written, or as it was written later."""
        only = Filter(product_ids=(product_id,))
        image = self.seeds.of(seed).image
        answer = await self.search.find(image, regions=(Box.whole(),), filter=only, timeout_s=GIVE_UP_S)
        titles = [each.product.title for item in answer.objects for each in item.products]
        return any(number_of(title) >= number for title in titles)
