"""The rows by which two versions of a base differ: after writes, deletes, rollbacks and compactions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline_server.catalog.difference import difference
from sightline_server.index.living import LivingCatalog
from tests.support.catalogs import row, unit_vectors, write_catalog


@pytest.fixture
def living(tmp_path: Path) -> Iterator[LivingCatalog]:
    write_catalog(tmp_path / "shop", [row(f"p{number}", unit_vectors(1, number)) for number in range(30)])
    with LivingCatalog(tmp_path / "shop") as living:
        yield living


def changed(living: LivingCatalog, before: int, after: int, most: int = 100) -> tuple[set[str], set[str]] | None:
    """The ids that go and come between two revisions."""
    versions = {each.number: each.base_version or 0 for each in living.store.revisions}
    found = difference(living._path, versions[before], versions[after], most)
    return None if found is None else (set(found.removed), set(found.added["id"].to_pylist()))


def test_writes_and_deletes_differ_by_their_rows(living: LivingCatalog) -> None:
    living.upsert([row("p3", unit_vectors(2, 50)), row("new", unit_vectors(1, 51))])
    living.delete(["p7"])
    living.checkpoint()
    living.delete(["new", "p8"])
    living.checkpoint()
    assert changed(living, 1, 2) == ({"p3", "p7"}, {"p3", "new"})
    assert changed(living, 2, 3) == ({"new", "p8"}, set())
    assert changed(living, 3, 1) == ({"p3"}, {"p3", "p7", "p8"})
    assert changed(living, 1, 1) == (set(), set())


def test_the_rows_that_come_are_whole(living: LivingCatalog) -> None:
    living.upsert([row("p3", unit_vectors(2, 50), title="other")])
    living.checkpoint()
    versions = {each.number: each.base_version or 0 for each in living.store.revisions}
    found = difference(living._path, versions[2], versions[1], 10)
    assert found is not None
    assert found.added.select(["id", "title"]).to_pylist() == [{"id": "p3", "title": None}]
    assert len(found.added["embeddings"][0].as_py()) == 1


def test_a_rollback_and_a_restart_differ_by_the_same_rows(living: LivingCatalog) -> None:
    living.delete(["p1"])
    living.checkpoint()
    living.store.rollback(1)
    assert changed(living, 2, 3) == (set(), {"p1"})
    assert changed(living, 1, 3) == (set(), set())


def test_more_rows_than_wanted_are_no_difference(living: LivingCatalog) -> None:
    living.delete([f"p{number}" for number in range(5)])
    living.checkpoint()
    assert changed(living, 1, 2, most=4) is None
    assert changed(living, 1, 2, most=5) is not None


def test_a_compaction_moves_rows_and_loses_none(living: LivingCatalog) -> None:
    for number in range(4):
        living.upsert([row(f"n{number}", unit_vectors(1, 60 + number))])
        living.checkpoint()
    living.store.compact()
    found = changed(living, 1, 5)
    assert found is not None
    removed, added = found
    before = {f"p{number}" for number in range(30)}
    assert (before - removed) | added == before | {f"n{number}" for number in range(4)}
    assert removed == before, "no file is shared after a compaction"


def test_as_many_other_deletes_in_one_file_differ(living: LivingCatalog) -> None:
    living.delete(["p1"])
    living.checkpoint()
    living.store.rollback(1)
    living.delete(["p2"])
    living.checkpoint()
    assert changed(living, 2, 4) == ({"p2"}, {"p1"})
    assert changed(living, 4, 2) == ({"p1"}, {"p2"})
