"""The catalog that a server writes, read in three ways: from the disk, by CatalogService, and by searches.

Rule: after each start the three agree, and `verify` finds nothing.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from load_tests.catalog_churn.shop import NAME, Seeds
from load_tests.catalog_crash.served.states import State, shown
from sightline_client import AsyncCatalogClient, AsyncClient, Box, Filter
from sightline_client.local_server import LocalServer
from sightline_server.catalog.verify import verify
from sightline_server.index.catalog import open_catalog

SAME = 0.99
"""The least cosine of a stored vector and the one that was written: float16, and images embedded in other batches."""
SEARCHED = 4
"""Products that are searched after each start, and as many that were deleted."""
SEARCH_S = 30.0


@dataclass(frozen=True, slots=True)
class Shop:
    """The catalog in `folder`; its writers' products have ids that begin with a w, the `built` other ones stay."""

    folder: Path
    catalog_target: str
    seeds: Seeds
    built: int


def states_on_disk(shop: Shop) -> tuple[dict[str, State], list[str]]:
    """The states of the writers' products that a reader finds, and what is wrong with vectors and other products."""
    faults = [finding.text for finding in verify(shop.folder, all_revisions=True) if not finding.good]
    opened = open_catalog(shop.folder, shop.seeds.embedder)
    states, built = {}, 0
    for place, row in enumerate(opened.display.to_pylist()):
        if not row["id"].startswith("w"):
            built += row["title"] == "built"
            continue
        state = states[row["id"]] = shown(row["title"], row["brand"])
        vectors, wanted = opened.vectors[opened.owners == place].astype(np.float32), state.vectors(shop.seeds)
        if vectors.shape != wanted.shape or float(np.min(np.sum(vectors * wanted, axis=1))) < SAME:
            faults.append(f"{row['id']}: its vectors are not those of {state.title!r}")
    if built != shop.built:
        faults.append(f"{built} of {shop.built} products that no one wrote to")
    return states, faults


async def served_faults(
    shop: Shop, server: LocalServer, found: Mapping[str, State], absent: Iterable[str]
) -> list[str]:
    """The differences between `found` on the disk and what the server lists, and what searches return.

    `absent` are ids of products that are not there.
    """
    async with AsyncCatalogClient(shop.catalog_target) as catalog, AsyncClient(server.target) as search:
        listed = {each.id: shown(each.title, each.brand) async for each in catalog.products(NAME) if each.id[0] == "w"}
        choice = random.Random(len(found))
        there = choice.sample(sorted(found), min(SEARCHED, len(found)))
        gone = sorted(set(absent) - set(found))
        faults = (
            [] if listed == dict(found) else [f"listed and stored differ: {set(listed.items()) ^ set(found.items())}"]
        )
        for each in [*there, *choice.sample(gone, min(SEARCHED, len(gone)))]:
            titles = await searched(shop, search, each, found.get(each))
            if titles != ([found[each].title] if each in found else []):
                faults.append(f"{each}: a search returns {titles}, stored is {found.get(each)}")
    return faults


async def searched(shop: Shop, search: AsyncClient, product_id: str, state: State | None) -> list[str]:
    """The titles that a search limited to a product returns."""
    image = shop.seeds.of(state.value if state else 0).image
    only = Filter(product_ids=(product_id,))
    async with asyncio.timeout(SEARCH_S):
        answer = await search.find(image, regions=(Box.whole(),), filter=only, timeout_s=SEARCH_S)
    return [each.product.title for item in answer.objects for each in item.products]
