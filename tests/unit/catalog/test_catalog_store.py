"""The store of a catalog: what it promises about writes, sequence numbers, requests, writers and the clock."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sightline_server.catalog import store as store_module
from sightline_server.catalog.base import Base
from sightline_server.catalog.delta import ALIVE, Delta
from sightline_server.catalog.held import Held
from sightline_server.catalog.keeping import SPARE_REVISIONS
from sightline_server.catalog.log import Log
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.operations import Delete, Update
from sightline_server.catalog.pending import Pending
from sightline_server.catalog.store import CatalogStore
from sightline_server.catalog.verify import verify
from sightline_server.catalog.writing import CheckpointPolicy
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog, read_facts, read_identity
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.schema import Price
from sightline_server.index.shared import share
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalog of format 1 with 5 products."""
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1, n), title=f"title {n}") for n in range(5)])
    return tmp_path / "shop"


@pytest.fixture
def living(shop: Path) -> Iterator[LivingCatalog]:
    with LivingCatalog(shop) as opened:
        yield opened


def ids(shop: Path) -> list[str]:
    found: list[str] = open_catalog(shop, SPEC).display["id"].to_pylist()
    return sorted(found)


def field(shop: Path, product_id: str, name: str) -> Any:
    return next(each[name] for each in open_catalog(shop).display.to_pylist() if each["id"] == product_id)


def test_a_catalog_of_format_1_becomes_revision_1_with_the_same_content(shop: Path) -> None:
    before = open_catalog(shop)
    with LivingCatalog(shop) as living:
        assert [each.name for each in living.store.revisions] == [open_catalog(shop).revision]
    after = open_catalog(shop, SPEC)
    assert after.display.equals(before.display)
    assert after.image_links.equals(before.image_links)
    assert (after.vectors == before.vectors).all()
    assert read_facts(shop).embedder == SPEC


def test_a_damaged_catalog_of_format_1_is_not_taken_over(shop: Path) -> None:
    data = next((shop / "data").iterdir())
    content = bytearray(data.read_bytes())
    content[content.index(b"title 3")] ^= 1
    data.write_bytes(content)
    with pytest.raises(SightlineError, match="is damaged"), LivingCatalog(shop):
        raise AssertionError("a damaged catalog was opened")
    assert (shop / "_versions").is_dir()


def test_a_write_is_seen_by_a_reader_before_a_checkpoint(shop: Path, living: LivingCatalog) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    living.delete(["p0"])
    assert ids(shop) == ["new", "p1", "p2", "p3", "p4"]
    assert read_identity(shop)[0] == open_catalog(shop).revision == f"1+2-{living.store.revisions[0].digest[:12]}"


def test_an_update_keeps_the_embeddings_and_the_other_fields(shop: Path, living: LivingCatalog) -> None:
    before = open_catalog(shop)
    living.update([ProductUpdate("p1", {"availability": "out_of_stock"}, Price(Decimal("3.5"), "USD"))])
    living.update([ProductUpdate("p1", {"title": ""}, attributes={"size": "1"})])
    for _ in range(2):
        place = open_catalog(shop).display["id"].to_pylist().index("p1")
        after = open_catalog(shop)
        assert (after.vectors[after.owners == place] == before.vectors[before.owners == 1]).all()
        found = after.display.to_pylist()[place]
        assert (found["title"], found["price"], found["availability"]) == ("", "3.5 USD", "out_of_stock")
        assert found["attributes"] == '{"size": "1"}'
        living.checkpoint()


def test_an_update_of_an_upserted_row_keeps_the_new_embeddings(shop: Path, living: LivingCatalog) -> None:
    living.upsert([row("p1", unit_vectors(2, 70), title="second")])
    living.update([ProductUpdate("p1", {"brand": "x"}), ProductUpdate("p1", {"gtin": "4"})])
    found = open_catalog(shop)
    place = found.display["id"].to_pylist().index("p1")
    assert (found.vectors[found.owners == place] == unit_vectors(2, 70).astype("float16")).all()
    assert (field(shop, "p1", "title"), field(shop, "p1", "brand")) == ("second", "x")


def test_rows_that_are_read_ahead_do_not_undo_the_writes_of_their_group(living: LivingCatalog) -> None:
    store = living.store
    pending = Pending(store.layout, store._delta, store._base, store.last_seq)
    first, second = Update("p1", {"title": "changed"}), Update("p1", {"brand": "x"})
    pending.read([first, Delete("p2")])
    assert (pending.add(first), pending.add(Delete("p2"))) == (1, 2)
    pending.read([second, Update("p2", {"brand": "x"})])
    assert (pending.add(second), pending.add(Update("p2", {"brand": "x"}))) == (3, 0)
    assert pending.operations[-1].row is not None
    assert pending.operations[-1].row["title"].to_pylist() == ["changed"]


@pytest.mark.parametrize("name", ["id", "images", "embeddings", "none", "price_amount"])
def test_an_update_of_other_columns_is_refused(living: LivingCatalog, name: str) -> None:
    with pytest.raises(SightlineError, match="cannot be updated"):
        living.update([ProductUpdate("p1", {name: "x"})])
    assert living.store.pending == 0


def test_a_refused_product_keeps_its_group_out(living: LivingCatalog) -> None:
    good, bad = row("good", unit_vectors(1)), row("bad", 2 * unit_vectors(1))
    with pytest.raises(SightlineError, match="product 'bad': an embedding has length 2, expected 1"):
        living.upsert([good, bad])
    assert living.store.pending == 0


def test_a_reader_of_an_earlier_number_is_not_disturbed(living: LivingCatalog) -> None:
    store = living.store
    first = living.upsert([row("new", unit_vectors(1, 9), title="first")]).seqs[0]
    second = living.upsert([row("new", unit_vectors(1, 9), title="second")]).seqs[0]
    third = living.delete(["new", "p0"]).seqs[-1]
    seen = {seq: {each["id"]: each["title"] for each in store.rows(seq).to_pylist()} for seq in range(third + 1)}
    assert "new" not in seen[0]
    assert seen[first]["new"] == "first"
    assert seen[second]["new"] == "second"
    assert "new" not in seen[third]
    assert "p0" in seen[third - 1]
    assert "p0" not in seen[third]
    versions = store.view(second).versions
    assert [(each.born, each.died) for each in versions] == [(second, third - 1)]
    assert [each.died for each in store.view(first).versions] == [second]
    assert store.view(0).versions == ()
    with pytest.raises(ValueError, match="is not between"):
        store.view(third + 1)
    assert store.last_seq == third < ALIVE


def test_sequence_numbers_go_on_after_checkpoints_and_restarts(shop: Path) -> None:
    numbers: list[int] = []
    for turn in range(3):
        with LivingCatalog(shop) as living:
            numbers += living.upsert([row(f"n{turn}", unit_vectors(1, turn))]).seqs
            if turn == 1:
                living.checkpoint()
    assert numbers == [1, 2, 3]


def test_a_request_that_is_repeated_is_written_once(shop: Path) -> None:
    rows = [row("new", unit_vectors(1, 9))]
    with LivingCatalog(shop) as living:
        first = living.upsert(rows, "request-1")
    with LivingCatalog(shop) as living:
        living.delete(["new"])
        living.checkpoint()
        again = living.upsert(rows, "request-1")
        assert (again.seqs, again.repeated) == (first.seqs, True)
        with pytest.raises(SightlineError, match="was used before for other content") as caught:
            living.upsert([row("other", unit_vectors(1, 9))], "request-1")
        assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert "new" not in ids(shop)


@pytest.mark.parametrize("step", ["write", "append", "record"])
def test_a_request_is_written_once_when_a_crash_falls_between_its_copies(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The crash falls after the acknowledgement, before it, or within the checkpoint that follows."""
    rows = [row("new", unit_vectors(1, 9))]
    with LivingCatalog(shop) as living:
        if step == "append":
            monkeypatch.setattr(living.store._log, "append", crashing(living.store._log.append))
            with pytest.raises(CrashError):
                living.upsert(rows, "request-1")
        else:
            living.upsert(rows, "request-1")
        if step == "record":
            monkeypatch.setattr(living.store._log, "record", crashing(None))
            with pytest.raises(CrashError):
                living.checkpoint()
        left = Path(shutil.copytree(shop, tmp_path / "left"))
    with LivingCatalog(left) as living:
        again = living.upsert(rows, "request-1")
        assert (again.seqs, again.repeated) == ((1,), True)
        assert living.store.last_seq == 1
        living.checkpoint()
        assert living.upsert(rows, "request-1").repeated
    assert ids(left) == ["new", "p0", "p1", "p2", "p3", "p4"]


class CrashError(Exception):
    """Stands for the end of the process."""


def crashing(work: Callable[..., object] | None) -> Callable[..., object]:
    """Does `work` and ends."""

    def crash(*arguments: object) -> None:
        if work is not None:
            work(*arguments)
        raise CrashError

    return crash


def test_a_full_log_is_brought_into_the_base(shop: Path) -> None:
    with LivingCatalog(shop, store=CatalogStore(shop, policy=CheckpointPolicy(operations=3))) as living:
        for number in range(7):
            living.upsert([row(f"n{number}", unit_vectors(1, number))])
        assert living.store.pending == 1
        assert living.store.revisions[0].number == 3
    assert len(ids(shop)) == 12


def test_old_revisions_lose_their_content_and_files_stay_bounded(shop: Path) -> None:
    with LivingCatalog(shop, store=CatalogStore(shop, keep=3)) as living:
        for number in range(20):
            living.upsert([row("p1", unit_vectors(1, number))])
            living.checkpoint()
        kept = [each.number for each in living.store.revisions if each.base_version is not None]
        assert len(kept) <= 3 + SPARE_REVISIONS
        assert len(list((shop / "base.lance" / "_versions").glob("*.manifest"))) <= len(kept) + 2
        assert living.store.rollback(kept[-1]).digest == living.store.revisions[-kept[-1]].digest


def test_many_checkpoints_do_not_leave_many_files_of_rows(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_FRAGMENTS", 4)
    with LivingCatalog(shop) as living:
        for number in range(12):
            living.upsert([row(f"n{number}", unit_vectors(1, number))])
            living.checkpoint()
            assert living.store._base.fragments() <= 5
    assert len(ids(shop)) == 17


def test_searches_go_first_before_each_part_of_a_checkpoint(shop: Path) -> None:
    seen: list[tuple[int, list[str]]] = []

    def pause() -> None:
        seen.append((store.current_revision.number, ids(shop)))

    store = CatalogStore(shop, pause=pause)
    with LivingCatalog(shop, store=store) as catalog:
        catalog.upsert([row("new", unit_vectors(1, 9))])
        assert catalog.checkpoint().number == 2
        assert seen == [(1, ids(shop))] * 5
        catalog.delete(["new"])
        store.rollback(1)
        assert len(seen) == 5, "a rollback does not wait"


def test_what_is_written_while_a_checkpoint_is_read_ahead_stays_in_the_log(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row(f"n{number}", unit_vectors(1, 10 + number)) for number in range(3)])
        living.update([ProductUpdate("p1", {"title": "before"})])
        ahead = living.store.read_ahead()
        living.update([ProductUpdate("n0", {"title": "after"}), ProductUpdate("p1", {"title": "after"})])
        living.upsert([row("n1", unit_vectors(1, 20)), row("later", unit_vectors(1, 21))])
        living.delete(["n2", "p2"])
        digest = open_catalog(shop).facts.content_sha256
        made = living.checkpoint("a note", ahead)
        assert (made.seq, made.rows, made.note, living.store.pending) == (4, 8, "a note", 6)
        assert open_catalog(shop).facts.content_sha256 == digest
        assert living.checkpoint().digest == digest
        assert living.store.rollback(made.number).rows == 8
        assert field(shop, "p1", "title") == "before"
    assert all(finding.good for finding in verify(shop, all_revisions=True))


def test_what_is_read_ahead_outlives_a_restart_of_the_log(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row("new", unit_vectors(1, 9))])
        ahead = living.store.read_ahead()
        with monkeypatch.context() as patch:
            patch.setattr(Log, "record", lambda *_: (_ for _ in ()).throw(SightlineError(ErrorKind.INTERNAL, "lost")))
            with pytest.raises(SightlineError, match="lost"):
                living.checkpoint("", ahead)
        living.delete(["p1"])
        assert living.checkpoint("", ahead).rows == 6
        assert living.store.pending == 1
    assert ids(shop) == ["new", "p0", "p2", "p3", "p4"]


@pytest.mark.parametrize("step", ["checkpoint", "rollback", "compact"])
def test_what_is_read_ahead_of_another_revision_is_read_again(shop: Path, living: LivingCatalog, step: str) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    ahead = living.store.read_ahead()
    {"checkpoint": living.checkpoint, "rollback": lambda: living.store.rollback(1), "compact": living.compact}[step]()
    living.delete(["p1"])
    made = living.checkpoint("", ahead)
    assert (made.rows, living.store.pending) == (len(ids(shop)), 0)
    assert "p1" not in ids(shop)
    assert ("new" in ids(shop)) == (step != "rollback")


def test_writers_do_not_wait_while_a_checkpoint_is_read_ahead(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, free, begun, replaced = (threading.Event() for _ in range(4))
    pauses: list[str] = []
    step, replace_rows = Held.step, Base.replace

    def pause() -> None:
        pauses.append(threading.current_thread().name)
        reads.set()
        free.wait(10)

    @contextmanager
    def noted(held: Held) -> Iterator[None]:
        with step(held):
            begun.set()
            yield

    def replace(base: Base, *arguments: Any) -> None:
        replaced.set()
        replace_rows(base, *arguments)

    monkeypatch.setattr(Held, "step", noted)
    monkeypatch.setattr(Base, "replace", replace)

    with LivingCatalog(shop, store=CatalogStore(shop, pause=pause)) as living:
        living.upsert([row("new", unit_vectors(1, 9))])
        reader = threading.Thread(target=living.store.read_ahead, name="reader")
        reader.start()
        assert reads.wait(10)
        assert living.store.read_ahead() is None, "another thread reads"
        living.upsert([row("newer", unit_vectors(1, 8))])
        waits = threading.Thread(target=living.store.rollback, args=(1,))
        waits.start()
        assert begun.wait(10)
        assert reader.is_alive()
        assert not replaced.is_set(), "no base changes while it is read"
        free.set()
        waits.join(10)
        reader.join(10)
        assert pauses.count("reader") == 1, "what a step waits for does not wait for searches any more"
        assert living.store.current_revision.note == "content of revision 1"


def test_a_checkpoint_that_cannot_be_read_ahead_is_made_all_the_same(
    living: LivingCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    with monkeypatch.context() as patch:
        patch.setattr(Delta, "at", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            living.store.read_ahead()
    assert living.checkpoint().rows == 6


def test_a_checkpoint_of_nothing_makes_no_revision(living: LivingCatalog) -> None:
    living.delete(["none"])
    assert living.checkpoint().number == 1


def test_a_rollback_keeps_what_was_not_yet_in_the_base(shop: Path, living: LivingCatalog) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    digest = open_catalog(shop).facts.content_sha256
    assert living.store.rollback(1).number == 3
    assert "new" not in ids(shop)
    living.store.rollback(2)
    assert open_catalog(shop).facts.content_sha256 == digest


def test_a_clock_that_jumps_back_changes_no_order_and_loses_nothing(shop: Path) -> None:
    now = [datetime(2026, 6, 1, tzinfo=UTC)]
    with LivingCatalog(shop, store=CatalogStore(shop, keep=2, clock=lambda: now[0])) as living:
        for number in range(10):
            living.upsert([row(f"n{number}", unit_vectors(1, number))])
            living.checkpoint()
            now[0] -= timedelta(days=400)
        assert [each.number for each in living.store.revisions] == list(range(11, 0, -1))
        newest = living.store.compact(2)
    assert read_identity(shop) == (newest.name, newest.created_at)
    assert len(ids(shop)) == 15


def test_a_writer_that_was_overtaken_writes_nothing(shop: Path, living: LivingCatalog) -> None:
    other = Log(shop / LOG)
    other.begin()
    other.close()
    with pytest.raises(SightlineError, match="another writer has taken over"):
        living.store.write([Delete("p1")])
    assert "p1" in ids(shop)


def test_a_catalog_is_closed_after_the_step_that_runs_and_is_not_written_to_any_more(
    shop: Path, living: LivingCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    living.delete(["p1"])
    replaced, closing = threading.Event(), threading.Event()
    replace = Base.replace

    def slow(*arguments: Any) -> None:
        replaced.set()
        assert closing.wait(20)
        replace(*arguments)

    monkeypatch.setattr(Base, "replace", slow)
    checkpoint = threading.Thread(target=living.checkpoint)
    checkpoint.start()
    assert replaced.wait(20)
    close = threading.Thread(target=living.store.close)
    close.start()
    with pytest.raises(SightlineError, match="writes to the catalog at"), CatalogStore(shop):
        pass
    closing.set()
    for thread in (checkpoint, close):
        thread.join()
    assert read_identity(shop)[0].startswith("2-")
    living.store.close()
    with pytest.raises(SightlineError, match="was closed") as caught:
        living.delete(["p2"])
    assert caught.value.kind is ErrorKind.STOPPING
    with LivingCatalog(shop) as again:
        again.delete(["p2"])
    assert ids(shop) == ["p0", "p3", "p4"]


def test_a_build_does_not_replace_a_catalog_that_is_written(shop: Path) -> None:
    with (
        LivingCatalog(shop) as living,
        pytest.raises(SightlineError, match="writes to the catalog at"),
    ):
        write_catalog(shop, [row("x", unit_vectors(1))], replace=True)
    assert living.store.revisions
    write_catalog(shop, [row("x", unit_vectors(1))], replace=True)
    assert ids(shop) == ["x"]
    assert not (shop / LOG).exists()


def test_a_catalog_without_products_can_be_filled_again(shop: Path, living: LivingCatalog) -> None:
    living.delete([f"p{number}" for number in range(5)])
    living.checkpoint()
    with pytest.raises(SightlineError, match="has no products"):
        open_catalog(shop)
    living.upsert([row("new", unit_vectors(1))])
    assert ids(shop) == ["new"]
    living.checkpoint()
    assert ids(shop) == ["new"]


def test_workers_share_a_changed_catalog(shop: Path, living: LivingCatalog) -> None:
    living.upsert([row("new", unit_vectors(1, 9))])
    living.checkpoint()
    living.delete(["p0"])
    shared = share(shop, "default", SPEC)
    try:
        assert (shared.revision, shared.vectors >= 0) == (open_catalog(shop).revision, True)
        assert shared.recall == 1.0
    finally:
        shared.close()


def test_many_rows_are_read_in_one_pass_as_single_ones_are(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1 + n % 2, n), title=f"title {n}") for n in range(400)])
    with LivingCatalog(tmp_path / "shop") as living:
        living.delete([f"p{n}" for n in range(0, 400, 7)])
        living.upsert([row("p5", unit_vectors(2, 900)), row("new", unit_vectors(1, 901))])
        living.checkpoint()
        base = living.store._base
        wanted = [f"p{n}" for n in range(40, 400)] + ["new", "nobody", "p5"]
        for columns in (None, ["title", "id"], ["id", "embeddings"]):
            found = base.rows(wanted, columns)
            assert found.num_rows > 300
            single = [base.rows([each], columns) for each in found["id"].to_pylist()]
            assert found.to_pylist() == [each for table in single for each in table.to_pylist()]
