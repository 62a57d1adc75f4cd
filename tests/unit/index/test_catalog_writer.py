"""The writer of a catalog for many callers: groups, one bad call, request ids, etags, queue, checkpoints and stop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from sightline_server.catalog.checkpoint import Checkpoint
from sightline_server.catalog.grouping import NewRequest, Outcome, WriteRequest
from sightline_server.catalog.log import Log
from sightline_server.catalog.operations import Operation
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import ProductUpdate
from sightline_server.domain.living import Unobserved
from sightline_server.domain.revisions import Receipt, Revision
from sightline_server.domain.writes import MISSING, STALE, WriteTerms
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.group_window import SEARCHES_FIRST_S
from sightline_server.index.living import LivingCatalog
from sightline_server.index.write_loop import WriteLoop
from sightline_server.index.write_queue import GROUP, Bounds, Entry, WriteQueue
from tests.support.catalogs import row, unit_vectors, write_catalog


class CountingStore(CatalogStore):
    """The store, with the requests of each group."""

    groups: list[int]

    def write_group(self, requests: Sequence[WriteRequest]) -> list[Outcome]:
        self.groups.append(len(requests))
        return super().write_group(requests)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1, n), title=f"title {n}") for n in range(5)])
    return tmp_path / "shop"


@pytest.fixture
async def writer(shop: Path) -> AsyncIterator[GroupWriter]:
    store = CountingStore(shop)
    store.groups = []
    with LivingCatalog(shop, store=store) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic)
        writer.start()
        yield writer
        await writer.close()


def groups(writer: GroupWriter) -> list[int]:
    store = writer._living.store
    assert isinstance(store, CountingStore)
    return store.groups


async def test_calls_of_many_callers_are_written_in_few_groups(writer: GroupWriter) -> None:
    receipts = await asyncio.gather(*(writer.upsert([row(f"n{n}", unit_vectors(1, n))]) for n in range(300)))
    assert sorted(seq for receipt in receipts for seq in receipt.seqs) == list(range(1, 301))
    assert len(groups(writer)) <= 4
    assert max(groups(writer)) <= 256
    assert await writer.count() == 305


async def test_a_group_grows_until_no_search_runs(shop: Path) -> None:
    waits: list[float] = []
    waiting, searched = asyncio.Event(), asyncio.Event()

    async def searches_first(seconds: float) -> None:
        waits.append(seconds)
        waiting.set()
        await searched.wait()

    store = CountingStore(shop)
    store.groups = []
    with LivingCatalog(shop, store=store) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic, searches_first=searches_first)
        writer.start()
        first = asyncio.create_task(writer.upsert([row("a", unit_vectors(1))]))
        await waiting.wait()
        second = asyncio.create_task(writer.upsert([row("b", unit_vectors(1))]))
        await asyncio.sleep(0.03)
        assert (store.groups, waits) == ([], [SEARCHES_FIRST_S])
        searched.set()
        await asyncio.gather(first, second)
        assert store.groups == [2]
        await writer.close()


@pytest.mark.parametrize("reason", ["full", "stopping"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_group_that_is_full_and_a_writer_that_stops_do_not_wait_for_searches(
    shop: Path, reason: str, late: bool
) -> None:
    waits: list[str] = []
    waiting = asyncio.Event()

    async def searches_first(_seconds: float) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            waits.append("ended")
            raise

    with LivingCatalog(shop) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic, searches_first=searches_first)
        writer.start()
        writes = [asyncio.create_task(writer.delete(["p0", "p1"]))]
        await (waiting.wait() if late else asyncio.sleep(0))
        if reason == "stopping":
            await asyncio.wait_for(writer.close(), 10)
        else:
            writes.append(asyncio.create_task(writer.delete([f"none{n}" for n in range(GROUP.operations)])))
        await asyncio.wait_for(asyncio.gather(*writes), 10)
        await writer.close()
        assert waits == (["ended"] if late else [])
        assert living.store.current_revision.rows == 3


async def test_a_bad_call_fails_alone(writer: GroupWriter) -> None:
    bad = np.full((1, 8), np.nan, np.float32)
    outcomes = await asyncio.gather(
        writer.upsert([row("a", unit_vectors(1))], "one"),
        writer.upsert([row("b", unit_vectors(1)), row("c", bad)], "two"),
        writer.upsert([row("d", unit_vectors(1))], "three"),
        writer.update([ProductUpdate("p1", {"title": "new"})], "four"),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [Receipt, SightlineError, Receipt, Receipt]
    assert isinstance(outcomes[1], SightlineError)
    assert outcomes[1].kind is ErrorKind.INVALID_REQUEST
    assert [await writer.get(name) is not None for name in "abcd"] == [True, False, False, True]
    assert not (await writer.upsert([row("b", unit_vectors(1))], "two")).repeated


async def test_a_request_id_is_written_once_within_a_group_and_later(writer: GroupWriter) -> None:
    first, second = await asyncio.gather(*(writer.upsert([row("a", unit_vectors(1))], "one") for _ in range(2)))
    assert (first.repeated, second.repeated, first.seqs) == (False, True, second.seqs)
    assert (await writer.upsert([row("a", unit_vectors(1))], "one")).seqs == first.seqs
    with pytest.raises(SightlineError, match="used before for other content"):
        await writer.upsert([row("a", unit_vectors(1, 7))], "one")
    assert writer.pending == 1


async def test_a_mark_stands_for_the_content_of_a_request(writer: GroupWriter) -> None:
    await writer.upsert([row("a", unit_vectors(1))], "one", terms=WriteTerms(mark=b"same"))
    again = await writer.upsert([row("a", unit_vectors(1, 9))], "one", terms=WriteTerms(mark=b"same"))
    assert again.repeated
    assert writer.pending == 1


async def test_an_etag_that_is_stale_keeps_the_write_out(writer: GroupWriter) -> None:
    stored = await writer.get("p1")
    assert stored is not None
    terms = WriteTerms(etags={"p1": stored.etag})
    written = await writer.update([ProductUpdate("p1", {"title": "new"})], terms=terms)
    stale = await writer.update([ProductUpdate("p1", {"title": "newer"})], terms=terms)
    gone = await writer.delete(["p1", "p2", "nobody"], terms=terms)
    assert written.seqs[0] > 0
    assert stale.seqs == (STALE,)
    assert (gone.seqs[0], gone.seqs[2]) == (STALE, MISSING)
    now = await writer.get("p1")
    assert now is not None
    assert (now.product.title, now.etag != stored.etag) == ("new", True)


async def test_etags_are_checked_in_the_order_of_a_group(writer: GroupWriter) -> None:
    stored = await writer.get("p1")
    assert stored is not None
    terms = WriteTerms(etags={"p1": stored.etag})
    updates = [writer.update([ProductUpdate("p1", {"title": f"title {n}"})], terms=terms) for n in (7, 8)]
    first, second = await asyncio.gather(*updates)
    assert first.seqs[0] > 0
    assert second.seqs == (STALE,)


async def test_etags_stay_the_same_over_a_checkpoint(writer: GroupWriter) -> None:
    await writer.update([ProductUpdate("p1", {"title": "new"}, attributes={"size": "1"})])
    before = await writer.list("", 10)
    await writer.checkpoint()
    assert await writer.list("", 10) == before
    assert len({each.etag for each in before}) == 5


async def test_a_dry_run_writes_nothing(writer: GroupWriter) -> None:
    terms = WriteTerms(dry_run=True)
    assert (await writer.upsert([row("a", unit_vectors(1))], "one", terms=terms)).seqs[0] > 0
    assert (await writer.delete(["nobody"], terms=terms)).seqs == (MISSING,)
    assert writer.pending == 0
    assert await writer.get("a") is None
    assert not (await writer.upsert([row("a", unit_vectors(1))], "one")).repeated


async def test_pages_list_each_product_once_in_order(writer: GroupWriter) -> None:
    await writer.upsert([row(name, unit_vectors(1)) for name in ("a/b", "p10", "ä", "z")])
    await writer.delete(["p2"])
    listed, after = list[str](), ""
    while page := await writer.list(after, 3):
        listed += [each.product.id for each in page]
        after = listed[-1]
        await writer.checkpoint()
    assert listed == ["a/b", "p0", "p1", "p10", "p3", "p4", "z", "ä"]
    assert await writer.count() == len(listed)


async def test_a_caller_that_leaves_affects_nobody(writer: GroupWriter) -> None:
    tasks = [asyncio.create_task(writer.upsert([row(f"n{n}", unit_vectors(1))])) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes[1::2]] == [Receipt] * 10
    assert [await writer.get(f"n{n}") is not None for n in range(1, 20, 2)] == [True] * 10


async def test_a_rollback_brings_the_content_back(writer: GroupWriter) -> None:
    before = await writer.list("", 10)
    await writer.delete(["p1", "p3"])
    revision = await writer.activate(1, "undo")
    assert (revision.note, revision.digest) == ("undo", writer.revisions[-1].digest)
    assert await writer.list("", 10) == before
    with pytest.raises(SightlineError) as caught:
        await writer.activate(77)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


async def test_a_full_disk_is_a_clear_refusal_and_the_writer_goes_on(
    writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise SightlineError(ErrorKind.OVERLOADED, "cannot write /secret/log.sqlite: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", full)
        outcomes = await asyncio.gather(
            *(writer.upsert([row(f"n{n}", unit_vectors(1))], f"r{n}") for n in range(3)), return_exceptions=True
        )
    for each in outcomes:
        assert isinstance(each, SightlineError)
        assert (each.kind, each.metadata["limit"], "/secret" in each.message) == (ErrorKind.OVERLOADED, "disk", False)
    assert not (await writer.upsert([row("n1", unit_vectors(1))], "r1")).repeated


async def test_an_unknown_error_of_one_call_costs_that_call_only(
    writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Log.append

    def picky(log: Log, operations: Sequence[Operation], requests: Iterable[NewRequest] = ()) -> int:
        if any(each.id == "bad" for each in operations):
            raise RuntimeError("odd")
        return append(log, operations, requests)

    monkeypatch.setattr(Log, "append", picky)
    outcomes = await asyncio.gather(
        *(writer.upsert([row(name, unit_vectors(1))]) for name in ("a", "bad", "c")), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [Receipt, SightlineError, Receipt]
    assert [await writer.get(name) is not None for name in ("a", "bad", "c")] == [True, False, True]


async def test_a_stop_writes_what_waits_and_makes_a_checkpoint(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic)
        writer.start()
        tasks = [asyncio.create_task(writer.upsert([row(f"n{n}", unit_vectors(1))])) for n in range(50)]
        await asyncio.sleep(0)
        await writer.close()
        assert all(receipt.seqs[0] > 0 for receipt in await asyncio.gather(*tasks))
        assert living.store.pending == 0
        with pytest.raises(SightlineError) as caught:
            await writer.delete(["p1"])
        assert caught.value.kind is ErrorKind.STOPPING
    with LivingCatalog(shop) as living:
        assert living.store.revisions[0].rows == 55


class Watched(Unobserved):
    """Notes checkpoints of the loop: `made` is set by the first one."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self.failures: list[str] = []

    def checkpointed(self, catalog: str, seconds: float, revision: str) -> None:
        self.made.set()

    def checkpoint_failed(self, catalog: str) -> None:
        self.failures.append(catalog)


async def until_a_checkpoint(shop: Path, watched: Watched) -> None:
    """Writes once, and waits for the checkpoint that the loop makes by itself."""
    with LivingCatalog(shop) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic, checkpoint_s=0.05, observer=watched)
        writer.start()
        await writer.delete(["p1"])
        await watched.made.wait()
        await writer.close()
        assert len(living.store.revisions) == 2


async def test_checkpoints_are_made_in_their_time(shop: Path) -> None:
    watched = Watched()
    await until_a_checkpoint(shop, watched)
    assert watched.failures == []


async def test_the_next_checkpoint_is_made_after_one_that_failed_in_an_unforeseen_way(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched()
    checkpoint = WriteLoop.checkpoint

    async def broken_once(loop: WriteLoop, note: str = "") -> Revision:
        if not watched.failures:
            raise ZeroDivisionError
        return await checkpoint(loop, note)

    monkeypatch.setattr(WriteLoop, "checkpoint", broken_once)
    monkeypatch.setattr("sightline_server.index.write_loop.RETRY_S", 0.01)
    await until_a_checkpoint(shop, watched)
    assert watched.failures == ["shop"]
    assert "catalog shop: a checkpoint could not be made" in caplog.text


class HeldStore(CatalogStore):
    """The store, which holds what is read ahead until `free` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads, self.free = threading.Event(), threading.Event()

    def read_ahead(self) -> Checkpoint | None:
        found = super().read_ahead()
        self.reads.set()
        self.free.wait(10)
        return found


@pytest.fixture
async def held(shop: Path) -> AsyncIterator[tuple[GroupWriter, HeldStore]]:
    """A writer with a product to write, and its store."""
    store = HeldStore(shop)
    with LivingCatalog(shop, store=store) as living:
        writer = GroupWriter("shop", living, clock=time.monotonic)
        writer.start()
        await writer.upsert([row("first", unit_vectors(1, 9))])
        yield writer, store
        store.free.set()
        await writer.close()


async def test_writes_are_acknowledged_while_a_checkpoint_is_read_ahead(held: tuple[GroupWriter, HeldStore]) -> None:
    writer, store = held
    checkpoint = asyncio.create_task(writer.checkpoint("read ahead"))
    await asyncio.to_thread(store.reads.wait, 10)
    await asyncio.wait_for(writer.upsert([row("second", unit_vectors(1, 8))]), 10)
    store.free.set()
    made = await checkpoint
    assert (made.note, made.rows, writer.pending) == ("read ahead", 6, 1)
    assert await writer.count() == 7


async def test_a_stop_makes_the_checkpoint_that_is_read_ahead(held: tuple[GroupWriter, HeldStore]) -> None:
    writer, store = held
    checkpoint = asyncio.create_task(writer.checkpoint("read ahead"))
    await asyncio.to_thread(store.reads.wait, 10)
    stop = asyncio.create_task(writer.close())
    await asyncio.sleep(0.01)
    store.free.set()
    await asyncio.wait_for(stop, 10)
    assert (await checkpoint).note == "read ahead"
    assert writer.pending == 0


async def test_a_caller_that_leaves_a_checkpoint_affects_nobody(held: tuple[GroupWriter, HeldStore]) -> None:
    writer, store = held
    checkpoint = asyncio.create_task(writer.checkpoint())
    await asyncio.to_thread(store.reads.wait, 10)
    checkpoint.cancel()
    with suppress(asyncio.CancelledError):
        await checkpoint
    store.free.set()
    assert (await writer.checkpoint("again")).note == "again"


async def test_what_cannot_be_read_ahead_is_read_by_the_checkpoint(
    writer: GroupWriter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await writer.upsert([row("new", unit_vectors(1, 9))])

    def broken(_: CatalogStore) -> None:
        raise OSError("a secret path")

    monkeypatch.setattr(CatalogStore, "read_ahead", broken)
    assert (await writer.checkpoint()).rows == 6
    assert "catalog shop: a checkpoint was not read ahead (OSError)" in caplog.text


async def test_a_write_waits_for_room_and_is_refused_at_its_deadline() -> None:
    queue, loop = WriteQueue(Bounds(2, 1000)), asyncio.get_running_loop()
    await queue.put(Entry(list, 2, 10))
    with pytest.raises(SightlineError, match="too many writes") as caught:
        await queue.put(Entry(list, 1, 10), loop.time() + 0.02)
    assert (caught.value.kind, caught.value.metadata["limit"]) == (ErrorKind.OVERLOADED, "catalog_queue")
    order: list[str] = []

    async def put(name: str, operations: int) -> None:
        await queue.put(Entry(list, operations, 10))
        order.append(name)

    waiting = [asyncio.create_task(put(name, operations)) for name, operations in (("a", 2), ("left", 1), ("b", 1))]
    await asyncio.sleep(0)
    waiting[1].cancel()
    with suppress(asyncio.CancelledError):
        await waiting[1]
    assert len(queue.take()) == 1
    await waiting[0]
    assert len(queue.take()) == 1
    await waiting[2]
    assert order == ["a", "b"]


async def test_a_closed_queue_refuses_those_that_wait() -> None:
    queue = WriteQueue(Bounds(1, 1000))
    await queue.put(Entry(list, 1, 10))
    waiting = [asyncio.create_task(queue.put(Entry(list, 1, 10))) for _ in range(3)]
    await asyncio.sleep(0)
    queue.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [each.kind for each in outcomes if isinstance(each, SightlineError)] == [ErrorKind.STOPPING] * 3
    assert len(queue.take()) == 1


async def test_a_retired_writer_refuses_what_waits_and_loses_nothing_before(writer: GroupWriter) -> None:
    counts: list[int] = []

    def remove(products: int) -> None:
        counts.append(products)
        if len(counts) == 1:
            raise SightlineError(ErrorKind.CATALOG_NOT_EMPTY, "it has products")

    with pytest.raises(SightlineError, match="it has products"):
        await writer.retire(remove)
    assert (await writer.delete(["p0"])).seqs
    revisions = len(writer.revisions)
    calls = [writer.delete([f"p{n}"]) for n in range(1, 5)]
    outcomes = await asyncio.gather(*calls, writer.retire(remove), return_exceptions=True)
    deleted = sum(isinstance(each, Receipt) for each in outcomes)
    assert counts == [5, 4 - deleted], "each write came before the last count, or was refused"
    refused = [each.kind for each in outcomes if isinstance(each, SightlineError)]
    assert refused == [ErrorKind.UNKNOWN_CATALOG] * (4 - deleted)
    for call in (writer.delete(["p1"]), writer.count(), writer.checkpoint(), writer.retire(remove)):
        with pytest.raises(SightlineError) as caught:
            await call
        assert caught.value.kind is ErrorKind.UNKNOWN_CATALOG
    assert len(writer.revisions) == revisions, "nothing is written into a catalog that is gone"
