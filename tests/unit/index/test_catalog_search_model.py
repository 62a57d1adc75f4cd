"""Writes to a catalog and searches of every type of index, against a dictionary and numpy.

Random upserts, updates, deletes, checkpoints, rollbacks, compactions, restarts and crashes come first; a search opens
what a server would serve then. At length: `pytest --long --timeout 0 tests/unit/index/test_catalog_search_model.py`.
"""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from sightline_server.catalog.digest import hexadecimal, total
from sightline_server.domain.filters import Filter
from sightline_server.domain.items import Neighbour
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.filters.probe import applies_selectors
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.schema import CatalogRow, to_table
from sightline_server.index.snapshot import CatalogSnapshot
from tests.support.catalogs import DIMENSION, SPEC, row, unit_vectors, write_catalog
from tests.support.effort import examples
from tests.support.index_kinds import KINDS

STABLE = 24
IDS = st.sampled_from([*(f"p{number}" for number in range(4)), "a", "b'", "é 漢", "f;--"])
BRANDS = st.sampled_from(["Norrvik", "Nordhem", ""])
STOCK = st.sampled_from(["in_stock", "out_of_stock"])
SEEDS = st.integers(0, 1000)
LIMITS = st.sampled_from([PlanLimits(), PlanLimits(gather_bytes=0)])
FILTERS = st.builds(
    Filter,
    brands=st.sampled_from([(), ("norrvik",), ("Nordhem", "Norrvik")]),
    availabilities=st.sampled_from([(), ("in_stock",)]),
    product_ids=st.one_of(st.just(()), st.lists(IDS, max_size=4).map(tuple)),
    excluded_product_ids=st.lists(IDS, max_size=3).map(tuple),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One product of the model; its vectors follow from `seed`."""

    id: str
    brand: str
    availability: str
    images: int
    seed: int

    def row(self) -> CatalogRow:
        """The row that a writer sends for it."""
        vectors = unit_vectors(self.images, self.seed)
        return row(self.id, vectors, brand=self.brand, availability=self.availability)

    def passes(self, wanted: Filter) -> bool:
        """Returns whether a filter lets it through."""
        return (
            (not wanted.brands or self.brand.lower() in {brand.lower() for brand in wanted.brands})
            and (not wanted.availabilities or self.availability in wanted.availabilities)
            and (not wanted.product_ids or self.id in wanted.product_ids)
            and self.id not in wanted.excluded_product_ids
        )

    def similarity(self, query: NDArray[np.float32]) -> float:
        """That of its nearest image, from vectors as they are stored."""
        vectors = unit_vectors(self.images, self.seed).astype(np.float16).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return float((vectors @ query).max())


Model = dict[str, Expected]


class SearchMachine(RuleBasedStateMachine):
    """One catalog, the products that it should have, and those of each revision."""

    @initialize()
    def build(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-model-"))
        self.path = self.folder / "0"
        self.crashes = 0
        stable = [
            Expected(f"p{number}", "Nordhem", "in_stock", 1 + number % 3, 2000 + number) for number in range(STABLE)
        ]
        self.model: Model = {each.id: each for each in stable}
        write_catalog(self.path, [each.row() for each in stable])
        self.device = DeviceThread()
        self.open()
        self.history: dict[int, Model] = {1: dict(self.model)}

    def open(self) -> None:
        self.living = LivingCatalog(self.path, actor="test")
        self.living.__enter__()

    def teardown(self) -> None:
        if hasattr(self, "living"):
            self.living.__exit__(None, None, None)
            self.device.close()
            shutil.rmtree(self.folder)

    def note_revision(self) -> None:
        self.history[self.living.store.revisions[0].number] = dict(self.model)

    @rule(keys=st.lists(IDS, min_size=1, max_size=4), brand=BRANDS, stock=STOCK, images=st.integers(1, 3), seed=SEEDS)
    def upsert(self, keys: list[str], brand: str, stock: str, images: int, seed: int) -> None:
        rows = [Expected(key, brand, stock, images, seed + place) for place, key in enumerate(keys)]
        self.living.upsert([each.row() for each in rows])
        self.model |= {each.id: each for each in rows}

    @rule(keys=st.lists(IDS, min_size=1, max_size=3), brand=BRANDS, stock=STOCK)
    def update(self, keys: list[str], brand: str, stock: str) -> None:
        self.living.update([ProductUpdate(key, {"availability": stock, "brand": brand}) for key in keys])
        for key in keys:
            if key in self.model:
                self.model[key] = replace(self.model[key], availability=stock, brand=brand)

    @rule(keys=st.lists(IDS, min_size=1, max_size=3))
    def delete(self, keys: list[str]) -> None:
        self.living.delete(keys)
        for key in keys:
            self.model.pop(key, None)

    @rule()
    def checkpoint(self) -> None:
        self.living.checkpoint()
        self.note_revision()

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        kept = {each.number for each in self.living.store.revisions if each.base_version is not None}
        number = data.draw(st.sampled_from(sorted(kept & set(self.history))))
        if self.living.store.pending:
            self.history[self.living.store.revisions[0].number + 1] = dict(self.model)
        self.living.store.rollback(number)
        self.model = dict(self.history[number])
        self.note_revision()

    @rule(keep=st.integers(1, 4))
    def compact(self, keep: int) -> None:
        self.living.store.compact(keep)
        self.note_revision()

    @rule()
    def restart(self) -> None:
        self.living.__exit__(None, None, None)
        self.open()

    @precondition(lambda self: self.crashes < 4)
    @rule()
    def crash(self) -> None:
        """The files as they are while the writer has them open, which is what a process that is killed leaves."""
        self.crashes += 1
        left = self.folder / f"{self.crashes}"
        shutil.copytree(self.path, left)
        self.living.__exit__(None, None, None)
        self.path = left
        self.open()

    @rule(
        kind=st.sampled_from(sorted(KINDS)),
        wanted=FILTERS,
        limits=LIMITS,
        seed=SEEDS,
        k=st.sampled_from([1, 5, 20, 99]),
    )
    def search(self, kind: str, wanted: Filter, limits: PlanLimits, seed: int, k: int) -> None:
        query = unit_vectors(1, seed + 5000)
        found = self.found(kind, wanted, limits, query, k)
        allowed = {each.id: each.similarity(query[0]) for each in self.model.values() if each.passes(wanted)}
        ids = [neighbour.product_id for neighbour in found]
        assert set(ids) <= set(allowed), "a product that was deleted or filtered out"
        assert len(set(ids)) == len(ids)
        if KINDS[kind][2]:
            best = sorted(allowed.values(), reverse=True)[:k]
            assert [neighbour.similarity for neighbour in found] == pytest.approx(best, abs=1e-5)
            assert [allowed[each] for each in ids] == pytest.approx(best, abs=1e-5)

    def found(
        self, kind: str, wanted: Filter, limits: PlanLimits, query: NDArray[np.float32], k: int
    ) -> list[Neighbour]:
        """The answer of a server that opens the catalog now with an index of `kind`."""
        catalog: Catalog = open_catalog(self.path, SPEC)
        vectors = catalog.vectors.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        index = KINDS[kind][0](vectors, self.folder)
        selects = applies_selectors(index, catalog.vectors)
        self.device.call(index.adopt)
        snapshot = CatalogSnapshot("shop", catalog, index, self.device, selects=selects, limits=limits)

        async def asked() -> list[Neighbour]:
            selected = await snapshot.select(wanted)
            [neighbours] = await selected.nearest(query, k)
            await snapshot.close()
            return neighbours

        return asyncio.run(asked())

    @invariant()
    def digest_and_rows_are_those_of_the_dictionary(self) -> None:
        if hasattr(self, "living"):
            catalog = open_catalog(self.path, SPEC)
            rows = [each.row() for each in self.model.values()]
            assert sorted(catalog.display["id"].to_pylist()) == sorted(self.model)
            assert catalog.facts.content_sha256 == hexadecimal(total(to_table(rows, DIMENSION)))


TestSearchModel = SearchMachine.TestCase
TestSearchModel.settings = settings(
    max_examples=examples(14), stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)
