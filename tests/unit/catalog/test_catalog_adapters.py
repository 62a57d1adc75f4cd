"""Adapters in the log of a catalog: stored with a revision, brought back by a rollback, removed with the last one."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sightline_server.catalog.adapters import ADAPTERS_FORMAT, read_adapter
from sightline_server.catalog.log import read_current, read_recorded
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.revisions import RevisionKind
from sightline_server.catalog.verify import verify
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.generations import OTHER, prepare

FIRST, SECOND = b"the first adapter", b"the second adapter"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "shop", [row(f"p{number}", unit_vectors(2, number)) for number in range(5)])
    return tmp_path / "shop"


@pytest.fixture
def living(shop: Path) -> Iterator[LivingCatalog]:
    with LivingCatalog(shop) as opened:
        yield opened


def stored_adapters(shop: Path) -> int:
    with closing(sqlite3.connect(shop / LOG)) as connection:
        count: int = connection.execute("SELECT count(*) FROM adapters").fetchone()[0]
    return count


def test_an_adapter_is_a_revision_of_the_same_content(shop: Path, living: LivingCatalog) -> None:
    before = living.store.current_revision
    made = living.store.adapt(FIRST, "from 100 photos")
    assert (made.kind, made.number, made.note) == (RevisionKind.ADAPTED, 2, "from 100 photos")
    assert (made.digest, made.rows, made.items) == (before.digest, before.rows, before.items)
    assert made.adapter == sha256(FIRST)
    assert made.base_version != before.base_version
    assert read_current(shop) == made
    assert read_adapter(shop, made.adapter) == FIRST


def test_the_name_of_a_revision_tells_adapters_apart(shop: Path, living: LivingCatalog) -> None:
    plain = living.store.current_revision
    marks = [living.store.adapt(content).mark for content in (FIRST, SECOND, FIRST, b"")]
    assert marks[0] == marks[2] != marks[1]
    assert marks[3] == plain.mark == plain.digest[:12]
    assert open_catalog(shop).revision == f"5-{plain.mark}"
    living.upsert([row("new", unit_vectors(1, 9))])
    assert open_catalog(shop).revision == f"5+1-{plain.mark}"


def test_writes_keep_the_adapter_and_are_in_the_revision_before_it(shop: Path, living: LivingCatalog) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    made = living.store.adapt(FIRST)
    assert [each.kind for each in living.store.revisions[:2]] == [RevisionKind.ADAPTED, RevisionKind.CHECKPOINT]
    assert made.rows == 6
    living.delete(["p0"])
    checkpoint = living.checkpoint()
    assert (checkpoint.adapter, checkpoint.rows) == (sha256(FIRST), 5)
    assert living.compact().adapter == sha256(FIRST)


def test_a_rollback_brings_back_the_adapter_of_its_revision(shop: Path, living: LivingCatalog) -> None:
    with_first = living.store.adapt(FIRST)
    with_second = living.store.adapt(SECOND)
    assert living.store.rollback(with_first.number).adapter == sha256(FIRST)
    assert living.store.rollback(1).adapter == ""
    assert living.store.rollback(with_second.number).adapter == sha256(SECOND)
    assert living.store.adapt(b"", "removed").adapter == ""
    assert read_current(shop).adapter == ""


def test_the_same_adapter_may_be_stored_again(shop: Path, living: LivingCatalog) -> None:
    living.store.adapt(FIRST)
    living.store.adapt(b"")
    assert living.store.adapt(FIRST).adapter == sha256(FIRST)
    assert stored_adapters(shop) == 1


def test_an_adapter_goes_with_the_last_revision_that_has_it(shop: Path, living: LivingCatalog) -> None:
    living.store.adapt(FIRST)
    living.store.adapt(SECOND)
    living.compact(keep=2)
    assert stored_adapters(shop) == 2
    living.compact(keep=1)
    assert stored_adapters(shop) == 1
    assert read_adapter(shop, sha256(SECOND)) == SECOND
    with pytest.raises(SightlineError, match="is missing or was changed"):
        read_adapter(shop, sha256(FIRST))


def test_another_embedder_has_no_adapter(shop: Path, living: LivingCatalog) -> None:
    adapted = living.store.adapt(FIRST)
    prepared = prepare(shop, living, OTHER)
    assert prepared.adapter == ""
    assert living.store.rollback(prepared.number).adapter == ""
    assert living.store.rollback(adapted.number).adapter == sha256(FIRST)
    assert living.embedder == SPEC


def test_adapters_and_generations_share_a_log_in_either_order(shop: Path, living: LivingCatalog) -> None:
    prepared = prepare(shop, living, OTHER)
    living.store.adapt(FIRST)
    assert living.store.rollback(prepared.number).generation == 2
    assert living.store.adapt(SECOND).adapter == sha256(SECOND)
    recorded = read_recorded(shop)
    assert [each.generation for each in recorded.revisions[:2]] == [2, 2]
    with closing(sqlite3.connect(shop / LOG)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == (ADAPTERS_FORMAT,)


def test_verify_reads_adapters(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.store.adapt(FIRST)
        living.store.adapt(SECOND)
    assert all(each.good for each in verify(shop, all_revisions=True))
    assert sum(each.text.startswith("adapter") for each in verify(shop, all_revisions=True)) == 2
    with closing(sqlite3.connect(shop / LOG)) as connection:
        connection.execute("UPDATE adapters SET content = X'00' WHERE sha256 = ?", (sha256(FIRST),))
        connection.commit()
    assert all(each.good for each in verify(shop))
    assert [each.text for each in verify(shop, all_revisions=True) if not each.good] == [
        f"adapter {sha256(FIRST)[:12]}: it is missing or damaged"
    ]


def test_a_step_that_fails_leaves_the_catalog_as_it_was(
    shop: Path, living: LivingCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = living.store.current_revision

    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr("sightline_server.catalog.adapters.insert", full)
        with pytest.raises(SightlineError) as failed:
            living.store.adapt(FIRST)
    assert failed.value.kind is not ErrorKind.INTERNAL
    assert read_current(shop) == before
    assert living.store.adapt(FIRST).number == 2
