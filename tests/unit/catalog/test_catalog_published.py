"""The reports of the store to the view that is searched: in order, before it returns, and until it has succeeded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sightline_server.catalog import store
from sightline_server.catalog.base import Base
from sightline_server.catalog.generations import Generation
from sightline_server.catalog.operations import Operation, OpKind
from sightline_server.catalog.revisions import Revision
from sightline_server.catalog.store import CatalogStore
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog, ProductUpdate
from tests.support.catalogs import row, unit_vectors, write_catalog


class Recorder:
    """`Published` that notes what it is given; `failing` makes every call raise."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []
        self.failing = self.intact = False
        self.prepared: list[int] = []

    def note(self, kind: str, value: object) -> None:
        if self.failing:
            raise MemoryError
        self.seen.append((kind, value))

    def apply(self, operations: Sequence[Operation]) -> None:
        self.note("apply", [(each.kind, each.id) for each in operations])

    def checkpointed(self, revision: Revision) -> None:
        self.note("checkpointed", revision.number)

    def replaced(self, revision: Revision) -> None:
        self.note("replaced", revision.number)

    def require(self, generation: Generation) -> None:
        self.note("require", generation.number)

    @contextmanager
    def preparing(self, revision: Revision) -> Iterator[bool]:
        self.prepared.append(revision.number)
        try:
            yield self.intact
        finally:
            self.prepared.append(-revision.number)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def living(tmp_path: Path, recorder: Recorder) -> Iterator[LivingCatalog]:
    write_catalog(tmp_path / "shop", [row("a", unit_vectors(1)), row("b", unit_vectors(2))])
    published = CatalogStore(tmp_path / "shop", published=recorder)
    with LivingCatalog(tmp_path / "shop", store=published) as living:
        yield living


def test_each_step_is_published_in_order(living: LivingCatalog, recorder: Recorder) -> None:
    living.upsert([row("c", unit_vectors(1, 5)), row("a", unit_vectors(1, 6))])
    living.update([ProductUpdate("b", {"title": "new"}), ProductUpdate("nobody", {"title": "new"})])
    living.checkpoint()
    living.delete(["b"])
    living.store.rollback(1)
    living.upsert([row("d", unit_vectors(1, 7))])
    living.store.compact()
    assert recorder.seen == [
        ("apply", [(OpKind.UPSERT, "c"), (OpKind.UPSERT, "a")]),
        ("apply", [(OpKind.UPDATE, "b")]),
        ("checkpointed", 2),
        ("apply", [(OpKind.DELETE, "b")]),
        ("replaced", 4),
        ("apply", [(OpKind.UPSERT, "d")]),
        ("checkpointed", 5),
    ]


def test_a_repeated_request_is_published_once(living: LivingCatalog, recorder: Recorder) -> None:
    for _ in range(2):
        living.upsert([row("c", unit_vectors(1, 5))], request_id="one")
    assert len(recorder.seen) == 1


def test_a_write_that_was_not_published_is_published_before_the_next(living: LivingCatalog, recorder: Recorder) -> None:
    recorder.failing = True
    for title in ("first", "second"):
        with pytest.raises(SightlineError, match="cannot be searched yet") as caught:
            living.upsert([row(title, unit_vectors(1))], request_id=title)
        assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE
    recorder.failing = False
    assert living.upsert([row("first", unit_vectors(1))], request_id="first").repeated
    assert living.upsert([row("third", unit_vectors(1))]).seqs == (2,)
    assert recorder.seen == [("apply", [(OpKind.UPSERT, "first")]), ("apply", [(OpKind.UPSERT, "third")])]


def test_a_rollback_that_was_not_published_is_published_before_the_next_write(
    living: LivingCatalog, recorder: Recorder
) -> None:
    living.upsert([row("c", unit_vectors(1))])
    recorder.failing = True
    with pytest.raises(SightlineError, match="cannot be searched yet"):
        living.store.rollback(1)
    recorder.failing = False
    living.delete(["a"])
    assert recorder.seen[1:] == [("replaced", 3), ("apply", [(OpKind.DELETE, "a")])]


@pytest.mark.parametrize("intact", [False, True])
def test_a_rollback_reads_its_rows_only_where_the_view_has_not(
    living: LivingCatalog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, intact: bool
) -> None:
    checked: list[int] = []
    monkeypatch.setattr(store, "require_intact", lambda _folder, _layout, revision: checked.append(revision.number))
    living.upsert([row("c", unit_vectors(1))])
    recorder.intact = intact
    living.store.rollback(1)
    assert (checked, recorder.prepared) == ([] if intact else [1], [1, -1])


def test_what_was_prepared_is_dropped_when_a_rollback_fails(
    living: LivingCatalog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Base, "restore", full_disk)
    with pytest.raises(SightlineError, match="No space left"):
        living.store.rollback(1)
    assert recorder.prepared == [1, -1]


def test_a_checkpoint_that_failed_publishes_nothing_twice(
    living: LivingCatalog, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    living.delete(["a"])
    with monkeypatch.context() as patched:
        patched.setattr(Base, "replace", full_disk)
        with pytest.raises(SightlineError):
            living.checkpoint()
    living.delete(["b"])
    living.checkpoint()
    assert recorder.seen == [
        ("apply", [(OpKind.DELETE, "a")]),
        ("apply", [(OpKind.DELETE, "b")]),
        ("checkpointed", 2),
    ]
