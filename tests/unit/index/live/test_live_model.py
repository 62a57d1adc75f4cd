"""A view of a living catalog against a catalog that is opened fresh from the same folder, after random writes.

The ids, similarities, groups, links and products must be equal, with and without filters, whatever was written, merged,
checkpointed and rolled back; and everything must be equal to a matrix product with numpy.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sightline_server.catalog.revisions import RevisionKind
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.filters import Filter
from sightline_server.domain.items import Neighbour
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.opening import build_snapshot
from sightline_server.ports import Snapshot
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.generations import LIKE, prepare, served

BOTH = served(LIKE)
IDS = st.sampled_from([f"p{number}" for number in range(14)])
BRANDS = ["Norrvik", "Ödland", ""]
FILTERS = [
    Filter(brands=("norrvik",)),
    Filter(brands=("ödland",), excluded_product_ids=("p1", "p2")),
    Filter(item_group_ids=("g1", "g2")),
    Filter(availabilities=("in_stock",)),
    Filter(product_ids=tuple(f"p{number}" for number in range(7))),
    Filter(excluded_item_group_ids=("g1",)),
    Filter(brands=("nobody",)),
]
SHARED = 3
"""Seeds below it give products equal images, so that ties are decided by id."""


def vectors_of(images: int, seed: int) -> Any:
    return unit_vectors(images, 0 if seed < SHARED else seed)


async def answers(snapshot: Snapshot, queries: Any, k: int) -> list[list[Any]]:
    """Everything that a call reads of its neighbours, in a form that does not depend on the numbers of rows."""
    grouped = [place % 2 == 1 for place in range(len(queries))]
    return [described(snapshot, found) for found in await snapshot.nearest(queries, k, grouped)]


def described(snapshot: Snapshot, found: list[Neighbour]) -> list[Any]:
    products = snapshot.products([each.row for each in found])
    links = snapshot.image_links([each.image for each in found])
    groups = list(dict.fromkeys(each.group for each in found))
    return [
        (product, link, each.product_id, each.category, each.availability, groups.index(each.group))
        for each, product, link in zip(found, products, links, strict=True)
    ]


def nearest_by_numpy(catalog: Catalog, query: Any) -> list[float]:
    """The similarity of each product's closest image, most similar first."""
    vectors = catalog.vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.full(len(catalog.display), -1.0)
    np.maximum.at(best, catalog.owners, vectors @ query)
    return sorted(best.tolist(), reverse=True)


class LiveMachine(RuleBasedStateMachine):
    """One catalog that is written to and searched."""

    policy = MergePolicy(images=6, images_share=0, dead=4, dead_exact=4, dead_share=0, rows=8, rows_share=0)

    @initialize(count=st.integers(1, 6))
    def build(self, count: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-live-"))
        self.path = self.folder / "shop"
        rows = [row(f"p{n}", vectors_of(1 + n % 3, n), brand=BRANDS[n % 3], item_group_id="g1") for n in range(count)]
        write_catalog(self.path, rows)
        self.device = DeviceThread()
        self.begin()

    def begin(self) -> None:
        self.live = LiveIndex(self.path, "shop", BOTH, self.device, policy=self.policy)
        self.living = LivingCatalog(self.path, store=CatalogStore(self.path, published=self.live))
        self.living.__enter__()
        self.live.open()

    def end(self) -> None:
        self.live.close()
        self.living.__exit__(None, None, None)

    def teardown(self) -> None:
        if hasattr(self, "living"):
            self.end()
            self.device.close()
            shutil.rmtree(self.folder)

    @rule(
        keys=st.lists(IDS, min_size=1, max_size=4),
        images=st.integers(1, 3),
        seed=st.integers(0, 30),
        brand=st.sampled_from(BRANDS),
        group=st.sampled_from(["", "g1", "g2"]),
    )
    def upsert(self, keys: list[str], images: int, seed: int, brand: str, group: str) -> None:
        rows = [
            row(key, vectors_of(images, seed + place), brand=brand, item_group_id=group)
            for place, key in enumerate(keys)
        ]
        self.living.upsert(rows)

    @rule(
        keys=st.lists(IDS, min_size=1, max_size=4),
        brand=st.sampled_from(BRANDS),
        stock=st.sampled_from(["in_stock", "out_of_stock"]),
        group=st.sampled_from(["", "g1", "g2"]),
    )
    def update(self, keys: list[str], brand: str, stock: str, group: str) -> None:
        texts = {"brand": brand, "availability": stock, "item_group_id": group}
        self.living.update([ProductUpdate(key, texts) for key in keys])

    @rule(keys=st.lists(IDS, min_size=1, max_size=5))
    def delete(self, keys: list[str]) -> None:
        self.living.delete(keys)

    @rule()
    def checkpoint(self) -> None:
        self.living.checkpoint()

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        available = [each for each in self.living.store.revisions if each.base_version is not None]
        kept = [each.number for each in available if each.kind is not RevisionKind.PREPARED]
        self.living.store.rollback(data.draw(st.sampled_from(kept)))

    @rule()
    def change_embedder(self) -> None:
        """The catalog gets the embedder that it does not have; its vectors are as long as those of now."""
        made = prepare(self.path, self.living, LIKE if self.living.embedder == SPEC else SPEC)
        self.living.store.rollback(made.number)

    @rule()
    def restart(self) -> None:
        self.end()
        self.begin()

    @rule()
    def wait_for_a_merge(self) -> None:
        self.live.join()

    @invariant()
    def a_view_is_what_a_fresh_catalog_is(self) -> None:
        if hasattr(self, "living"):
            asyncio.run(self.compare())

    async def compare(self) -> None:
        view = self.live.view()
        fresh = build_snapshot(self.path, "shop", BOTH, self.device, may_be_empty=True)
        assert (view.revision, view.product_count) == (fresh.revision, fresh.product_count)
        assert view.embedder == fresh.embedder == self.living.embedder.identity
        queries = np.concatenate([unit_vectors(2, seed=0), unit_vectors(2, seed=77)])
        for k in (1, 3, 20):
            if view.product_count:
                assert await answers(view, queries, k) == await answers(fresh, queries, k)
            else:
                assert await answers(view, queries, k) == [[]] * len(queries)
        for wanted in FILTERS:
            if not view.product_count:
                continue
            ours, theirs = await view.select(wanted), await fresh.select(wanted)
            assert ours.applied_filter == theirs.applied_filter
            assert await answers(ours, queries, 3) == await answers(theirs, queries, 3)
        if view.product_count:
            catalog = open_catalog(self.path)
            found = await view.nearest(queries, 20)
            for query, neighbours in zip(queries, found, strict=True):
                similarities = [each.similarity for each in neighbours]
                assert similarities == pytest.approx(nearest_by_numpy(catalog, query)[:20], abs=1e-5)
        await fresh.close()


TestLiveModel = LiveMachine.TestCase
TestLiveModel.settings = settings(
    max_examples=6, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
