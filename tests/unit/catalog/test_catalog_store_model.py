"""The store against a dictionary: random writes, checkpoints, rollbacks, compactions, restarts and lost checkpoints.

The embedder changes as well: its vectors of a product follow from the seed of its images.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from sightline_server.catalog.base import Base
from sightline_server.catalog.checkpoint import Checkpoint
from sightline_server.catalog.verify import verify
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.reembedding import EmbeddedImages, Reembedding
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.effort import examples
from tests.support.generations import OTHER

IDS = st.sampled_from(["a", "b'", 'c"', "d%", "é 漢", "f;--", "g\\"])
SEEDS = st.integers(0, 1000)
Model = dict[str, tuple[str, str, int, int]]
"""The title, availability, number of images and seed of the images of each product."""


class StoreMachine(RuleBasedStateMachine):
    """One catalog, the products that it should have, and those of each revision."""

    @initialize()
    def build(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-store-"))
        self.path = self.folder / "shop"
        self.model: Model = {"a": ("first", "", 1, 0), "z": ("last", "", 2, 1)}
        rows = [row(key, unit_vectors(n, seed), title=title) for key, (title, _, n, seed) in self.model.items()]
        write_catalog(self.path, rows)
        self.living = LivingCatalog(self.path, actor="test")
        self.living.__enter__()
        self.history: dict[int, Model] = {1: dict(self.model)}
        self.prepared: dict[int, Model] = {}
        self.ahead: Checkpoint | None = None
        self.rows_ahead: Model = {}

    def teardown(self) -> None:
        if hasattr(self, "living"):
            self.living.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    def note_revision(self) -> None:
        self.history[self.living.store.current_revision.number] = dict(self.model)

    def vectors(self, images: int, seed: int) -> NDArray[np.float32]:
        return unit_vectors(images, seed, self.living.embedder.dimension)

    def embedded(self, work: Reembedding) -> Iterator[EmbeddedImages]:
        for each in work.products():
            _, _, images, seed = self.model[each.product.id]
            yield EmbeddedImages(each.product.id, each.images, unit_vectors(images, seed, work.embedder.dimension))

    @rule(keys=st.lists(IDS, min_size=1, max_size=4), title=st.text(max_size=5), images=st.integers(1, 3), seed=SEEDS)
    def upsert(self, keys: list[str], title: str, images: int, seed: int) -> None:
        title = title.encode(errors="ignore").decode()
        rows = [row(key, self.vectors(images, seed + place), title=title) for place, key in enumerate(keys)]
        receipt = self.living.upsert(rows)
        assert all(receipt.seqs)
        for place, key in enumerate(keys):
            self.model[key] = (title, "", images, seed + place)

    @rule(key=IDS, stock=st.sampled_from(["in_stock", "out_of_stock"]))
    def update(self, key: str, stock: str) -> None:
        receipt = self.living.update([ProductUpdate(key, {"availability": stock})])
        assert bool(receipt.seqs[0]) == (key in self.model)
        if key in self.model:
            title, _, images, seed = self.model[key]
            self.model[key] = (title, stock, images, seed)

    @rule(keys=st.lists(IDS, min_size=1, max_size=3, unique=True))
    def delete(self, keys: list[str]) -> None:
        receipt = self.living.delete(keys)
        assert [bool(seq) for seq in receipt.seqs] == [key in self.model for key in keys]
        for key in keys:
            self.model.pop(key, None)

    @rule()
    def checkpoint(self) -> None:
        self.living.checkpoint()
        self.note_revision()

    @rule()
    def read_ahead(self) -> None:
        """Reads a checkpoint ahead, which the next steps may outdate."""
        if (ahead := self.living.store.read_ahead()) is not None:
            self.ahead, self.rows_ahead = ahead, dict(self.model)

    @precondition(lambda self: self.ahead)
    @rule()
    def checkpoint_ahead(self) -> None:
        store, before = self.living.store, self.living.store.current_revision
        assert self.ahead is not None
        holds = store.pending and self.ahead.before == before
        made = self.living.checkpoint("", self.ahead)
        if holds:
            assert made.seq == self.ahead.revision.seq
            assert made.rows == self.ahead.revision.rows
            self.history[made.number] = dict(self.rows_ahead)
        elif made != before:
            self.note_revision()

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.history)))
        if self.living.store.pending:
            self.history[self.living.store.revisions[0].number + 1] = dict(self.model)
        wanted = next(each for each in self.living.store.revisions if each.number == number)
        if wanted.base_version is None:
            with pytest.raises(SightlineError, match="was removed"):
                self.living.store.rollback(number)
            self.history.pop(number)
            return
        made = self.living.store.rollback(number)
        assert made.generation == wanted.generation
        assert made.digest == wanted.digest
        self.model = dict(self.history[number])
        self.note_revision()

    @rule()
    def prepare(self) -> None:
        """Prepares a revision of the embedder that is not the current one."""
        work = Reembedding(self.path, OTHER if self.living.embedder == SPEC else SPEC)
        made = work.prepare(self.living.store, self.embedded(work))
        assert (made.rows, made.items) == (len(self.model), sum(images for _, _, images, _ in self.model.values()))
        self.prepared[made.number] = dict(self.model)

    @precondition(lambda self: self.prepared)
    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        """Activates a prepared revision: all products as they are now, or an error that loses none."""
        store = self.living.store
        number = data.draw(st.sampled_from(sorted(self.prepared)))
        wanted = next(each for each in store.revisions if each.number == number)
        images = {key: each[2:] for key, each in self.prepared[number].items()}
        lacking = [key for key, each in self.model.items() if images.get(key) != each[2:]]
        if wanted.base_version is None:
            self.prepared.pop(number)
        elif wanted.generation == store.current_revision.generation:
            assert store.rollback(number) == store.current_revision
        elif lacking:
            if store.pending:
                self.history[store.revisions[0].number + 1] = dict(self.model)
            with pytest.raises(SightlineError, match="was prepared before") as caught:
                store.rollback(number)
            assert sum(map(int, caught.value.metadata.values())) == len(lacking)
        else:
            if store.pending:
                self.history[store.revisions[0].number + 1] = dict(self.model)
            assert store.rollback(number).generation == wanted.generation
            self.note_revision()

    @rule(keep=st.integers(1, 4))
    def compact(self, keep: int) -> None:
        self.living.store.compact(keep)
        self.note_revision()

    @rule()
    def restart(self) -> None:
        self.living.__exit__(None, None, None)
        self.living = LivingCatalog(self.path, actor="test")
        self.living.__enter__()

    @precondition(lambda self: self.living.store.pending)
    @rule()
    def lose_a_checkpoint(self) -> None:
        """A process that ends between the base's new version and the transaction that names it."""
        self.living.__exit__(None, None, None)
        current = self.living.store.current_revision
        recorded = Base(self.path, current.base_version or 0, current.generation)
        recorded.replace(["a"], recorded.rows([]).schema.empty_table())
        recorded.replace(["z"], recorded.rows([]).schema.empty_table())
        self.living = LivingCatalog(self.path, actor="test")
        self.living.__enter__()

    @invariant()
    def the_reader_sees_the_dictionary(self) -> None:
        if not hasattr(self, "living"):
            return
        assert self.living.store.rows().num_rows == len(self.model)
        if not self.model:
            with pytest.raises(SightlineError, match="no products"):
                open_catalog(self.path, self.living.embedder)
            return
        catalog = open_catalog(self.path, self.living.embedder)
        found = catalog.display.to_pylist()
        assert {each["id"]: (each["title"], each["availability"]) for each in found} == {
            key: (title, stock) for key, (title, stock, _, _) in self.model.items()
        }
        for place, each in enumerate(found):
            _, _, images, seed = self.model[each["id"]]
            vectors = catalog.vectors[catalog.owners == place]
            assert np.array_equal(vectors, self.vectors(images, seed).astype(np.float16))

    @invariant()
    def verify_finds_nothing(self) -> None:
        if hasattr(self, "living"):
            assert [finding.text for finding in verify(self.path, all_revisions=True) if not finding.good] == []


TestStoreModel = StoreMachine.TestCase
TestStoreModel.settings = settings(
    max_examples=examples(10), stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
