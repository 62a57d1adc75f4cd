"""Writes to a catalog in Milvus through CatalogService, with the real Milvus."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from numpy.typing import NDArray
from pymilvus import MilvusClient

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import catalog_transfer_service_pb2 as transfers_pb
from sightline_server.domain.filters import Filter
from sightline_server.errors import SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.index.milvus import lease, live
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.pushing import push
from tests.contract.test_milvus_catalogs import in_milvus, rows, until
from tests.support.backend_shop import ids
from tests.support.catalog_service import reason
from tests.support.catalogs import unit_vectors, write_catalog
from tests.support.lens import details_of, serving
from tests.support.milvus_living import EMBEDDER, Living, living, product, push_writable
from tests.support.milvus_server import ROOT, MilvusServer


def vector(seed: int) -> NDArray[np.float32]:
    found: NDArray[np.float32] = unit_vectors(1, seed + 1000, EMBEDDER.dimension)[0]
    return found


@pytest.fixture
def shop(milvus: MilvusServer, tmp_path: Path) -> Path:
    """A catalog of 30 products in Milvus, writable, under the name of its folder."""
    folder = tmp_path / f"living-{tmp_path.name}"
    write_catalog(folder, rows(30), EMBEDDER)
    push_writable(milvus.uri, folder, folder.name)
    return folder


def retry_delay(status: pb.ProductStatus) -> float:
    info = error_details_pb2.RetryInfo()
    delays = [info.retry_delay.ToTimedelta().total_seconds() for each in status.status.details if each.Unpack(info)]
    return delays[0] if delays else 0.0


def rows_in(uri: str, collection: str, expression: str) -> list[dict[str, Any]]:
    """The rows of a collection after everything that was written."""
    raw = MilvusClient(uri)
    try:
        found = raw.query(collection, filter=expression, output_fields=["id", "title"], consistency_level="Strong")
        return [dict(row) for row in found]
    finally:
        raw.close()


def collection_of(served: Living) -> str:
    return str(served.written.live[served.name]._collection)


async def test_what_is_acknowledged_is_found_and_what_is_deleted_is_never_seen_again(
    milvus: MilvusServer, shop: Path
) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        before = served.registry.current(shop.name)
        deleted: set[str] = set()
        seen_again: list[str] = []

        async def keep_searching() -> None:
            while True:
                gone = set(deleted)
                seen_again.extend(gone & set(ids(await served.nearest(vector(1), 60))))
                await asyncio.sleep(0)

        searching = asyncio.create_task(keep_searching())
        for number in range(12):
            new = product(f"new-{number}", vector(number), vector(number + 500), title="First", brand="Norrvik")
            [status] = await served.upsert(new)
            assert reason(status) == "OK"
            [first, *_] = await served.nearest(vector(number))
            assert first.product_id == f"new-{number}"
            assert first.similarity == pytest.approx(1.0, abs=2e-3)
            assert reason(await served.update(f"new-{number}", title="Second")) == "OK"
            assert (await served.shown(vector(number))).title == "Second"
            assert (await served.shown(vector(number))).brand == "Norrvik", "an update keeps the rest"
            if number % 2:
                [status] = await served.delete(f"new-{number}")
                assert reason(status) == "OK"
                deleted.add(f"new-{number}")
                assert f"new-{number}" not in ids(await served.nearest(vector(number), 60))
        [status] = await served.delete("p000000")
        assert reason(status) == "OK", "a product that was pushed"
        deleted.add("p000000")
        assert (
            len(ids(await served.nearest(vector(1), 100))) == len(set(ids(await served.nearest(vector(1), 100)))) == 35
        )
        searching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await searching
        assert not seen_again
        view = served.registry.current(shop.name)
        assert (before.product_count, view.product_count) == (30, 35)
        assert view.revision.startswith("1+31-")
        only = await view.select(Filter(brands=("norrvik",), product_ids=("new-0", "new-1", "new-2")))
        assert sorted(ids((await only.nearest(vector(0)[np.newaxis], 9))[0])) == ["new-0", "new-2"]
        await until(lambda: served.value("catalog_freshness_seconds_count", catalog=shop.name) > 0)
        count = (await served.stub.GetCatalog(pb.GetCatalogRequest(name=f"catalogs/{shop.name}"))).catalog
        assert (count.product_count, count.pending_writes) == (35, 31)
    # A second start begins where the first one ended, without a copy.
    async with living(milvus.uri, shop, shop.name) as served:
        assert len(ids(await served.nearest(vector(1), 100))) == 35
        assert (await served.shown(vector(2))).title == "Second"
        [status] = await served.delete("new-2")
        assert reason(status) == "OK"


async def test_tombstones_hide_what_milvus_still_shows(
    milvus: MilvusServer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("a", vector(1), title="Old")))[0]) == "OK"
        # A Milvus that shows a deletion as late as it may under Bounded consistency, and later.
        monkeypatch.setattr(Milvus, "delete", lambda *_args, **_options: None)
        assert reason((await served.upsert(product("a", vector(2), title="New")))[0]) == "OK"
        assert reason((await served.delete("p000000"))[0]) == "OK"
        found = rows_in(milvus.uri, collection_of(served), 'id in ["a", "p000000"]')
        assert sorted({row["title"] for row in found if row["id"] == "a"}) == ["New", "Old"], "Milvus has both"
        assert any(row["id"] == "p000000" for row in found)
        everything = ids(await served.nearest(vector(1), 100))
        assert sorted(everything) == sorted(set(everything))
        assert "p000000" not in everything
        [first] = await served.nearest(vector(1), 1)
        assert first.product_id != "a" or first.similarity < 0.999, "by its old image it is not found"
        assert (await served.shown(vector(2))).title == "New"


async def test_a_request_that_is_sent_again_is_written_once(milvus: MilvusServer, shop: Path) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        new = product("a", vector(1), title="Chair")
        for _ in range(2):
            assert reason((await served.upsert(new, request_id="one"))[0]) == "OK"
        assert served.written.opened[shop.name].catalog.store.last_seq == 1
        [other] = await served.upsert(product("a", vector(2)), request_id="one")
        assert reason(other) == "INVALID_REQUEST"
        stored = (await served.stub.GetProduct(pb.GetProductRequest(name=f"catalogs/{shop.name}/products/a"))).product
        stale = product("a", vector(3))
        stale.etag = "0" * len(stored.etag)
        assert reason((await served.upsert(stale))[0]) == "ETAG_MISMATCH"
        assert reason((await served.upsert(product("b", vector(4)), validate_only=True))[0]) == "OK"
        assert "b" not in ids(await served.nearest(vector(4), 100))
        assert len(rows_in(milvus.uri, collection_of(served), 'id == "a"')) == 1


async def test_writes_are_refused_while_milvus_is_away_and_nothing_acknowledged_is_lost(
    milvus: MilvusServer, shop: Path
) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("before", vector(1))))[0]) == "OK"
        milvus.kill()
        try:
            [status] = await served.upsert(product("during", vector(2)), request_id="during")
            assert (reason(status), status.status.code) == ("INDEX_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE.value[0])
            assert retry_delay(status) > 0
            await until(lambda: served.value("catalog_available", catalog=shop.name) == 0)
            [status] = await served.upsert(product("later", vector(3)), request_id="later")
            assert reason(status) == "INDEX_UNAVAILABLE" and retry_delay(status) > 0
            assert "nothing of this request was written" in status.status.message
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await served.delete("before")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "RetryInfo" in details_of(caught.value)
        finally:
            await asyncio.to_thread(milvus.restart)
        await until(lambda: served.value("catalog_available", catalog=shop.name) == 1)
        for name, seed in (("during", 2), ("later", 3)):
            [status] = await served.upsert(product(name, vector(seed)), request_id=name)
            assert reason(status) == "OK"
        for name, seed in (("before", 1), ("during", 2), ("later", 3)):
            assert ids(await served.nearest(vector(seed), 1)) == [name]
            assert len(rows_in(milvus.uri, collection_of(served), f'id == "{name}"')) == 1


@pytest.mark.parametrize("step", ["insert", "delete"])
async def test_a_write_that_milvus_took_in_part_is_finished_before_the_next_one(
    milvus: MilvusServer, shop: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("a", vector(1))))[0]) == "OK"
        done = getattr(Milvus, step)

        def broken(*args: Any, **options: Any) -> None:
            done(*args, **options)
            raise SightlineError(live.away("").kind, "the network is down", retry_after_s=1.0)

        with monkeypatch.context() as patch:
            patch.setattr(Milvus, step, broken)
            [status] = await served.upsert(product("a", vector(2), title="New"), request_id="again")
            assert reason(status) == "INDEX_UNAVAILABLE"
        [status] = await served.upsert(product("a", vector(2), title="New"), request_id="again")
        assert reason(status) == "OK"
        assert [row["title"] for row in rows_in(milvus.uri, collection_of(served), 'id == "a"')] == ["New"]
        assert (await served.shown(vector(2))).title == "New"


async def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(
    milvus: MilvusServer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = [sys.executable, "-m", "tests.support.crashing_milvus_writer", milvus.uri, str(shop), shop.name]
    process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        lines.extend(line for line in process.stdout if line.endswith("\n"))

    reading = threading.Thread(target=read)
    reading.start()
    try:
        await until(lambda: sum(each.startswith("-") for each in lines) >= 6)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        await asyncio.to_thread(reading.join)
        assert process.stdout is not None
        process.stdout.close()
    expected: dict[str, str] = {}
    for line in lines:
        name, number = line[1:].split()
        expected[name] = number if line.startswith("+") else ""
    for constant, seconds in (("SILENT_S", 6.0), ("MARGIN_S", 1.0), ("SETTLE_S", 0.5), ("BEAT_S", 0.5)):
        monkeypatch.setattr(lease, constant, seconds)
    last = int(next(line.split()[1] for line in reversed(lines) if line.startswith("+")))
    unsure = {f"new-{(last + 1) % 7}", f"new-{(last - 1) % 7}"}  # what was sent next may be there or not
    async with living(milvus.uri, shop, shop.name) as served:
        await until(lambda: writable(served))
        for name, number in expected.items():
            if name in unsure:
                continue
            titles = [row["title"] for row in rows_in(milvus.uri, collection_of(served), f'id == "{name}"')]
            assert titles == ([number] if number else []), name
            if number:
                assert ids(await served.nearest(unit_vectors(1, int(number) + 10_000, EMBEDDER.dimension)[0], 1)) == [
                    name
                ]
        assert reason((await served.upsert(product("after", vector(9))))[0]) == "OK"


async def test_starts_while_milvus_is_away_change_nothing(milvus: MilvusServer, shop: Path) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("a", vector(1))))[0]) == "OK"
    for _ in range(3):
        async with living("http://127.0.0.1:1", shop, shop.name) as served:
            assert served.value("catalog_available", catalog=shop.name) == 0
            [status] = await served.upsert(product("b", vector(2)))
            assert reason(status) == "INDEX_UNAVAILABLE" and retry_delay(status) > 0
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("b", vector(2))))[0]) == "OK"
        for name, seed in (("a", 1), ("b", 2)):
            assert ids(await served.nearest(vector(seed), 1)) == [name]


async def test_operations_that_milvus_lacks_are_written_at_the_next_start(
    milvus: MilvusServer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        assert reason((await served.upsert(product("a", vector(1), title="Old")))[0]) == "OK"

        def broken(*_args: Any, **_options: Any) -> None:
            raise SightlineError(live.away("").kind, "the network is down", retry_after_s=1.0)

        monkeypatch.setattr(Milvus, "insert", broken)
        [status] = await served.upsert(product("a", vector(2), title="New"), request_id="again")
        assert reason(status) == "INDEX_UNAVAILABLE"
        assert "it is on the disk" in status.status.message
    # A stop makes no checkpoint of what Milvus lacks, nor does a start without Milvus.
    async with living("http://127.0.0.1:1", shop, shop.name) as served:
        assert served.written.opened[shop.name].catalog.store.pending == 2
    monkeypatch.undo()
    async with living(milvus.uri, shop, shop.name) as served:
        assert (await served.shown(vector(2))).title == "New"
        assert [row["title"] for row in rows_in(milvus.uri, collection_of(served), 'id == "a"')] == ["New"]
        [status] = await served.upsert(product("a", vector(2), title="New"), request_id="again")
        assert reason(status) == "OK"
        assert served.written.opened[shop.name].catalog.store.last_seq == 2, "it was written once"


def writable(served: Living) -> bool:
    try:
        served.written.live[served.name].require_writable()
    except SightlineError:
        return False
    return True


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


async def test_what_milvus_cannot_do_is_refused_with_its_reason(milvus: MilvusServer, shop: Path) -> None:
    async with living(milvus.uri, shop, shop.name) as served:
        request = pb.ActivateRevisionRequest(name=f"catalogs/{shop.name}/revisions/1")
        code, text = await refusal(served.stub.ActivateRevision(request, timeout=30))
        assert code == "FAILED_PRECONDITION" and "is not set back while it is served" in text
        again = transfers_pb.ReembedCatalogRequest(parent=f"catalogs/{shop.name}", embedder=EMBEDDER.identity)
        code, text = await refusal(served.transfers.ReembedCatalog(again, timeout=30))
        assert code == "FAILED_PRECONDITION" and "is not embedded again while it is served" in text
        large = product("large", vector(1), attributes={f"a{number}": '"' * 5000 for number in range(12)})
        [status] = await served.upsert(large)
        assert reason(status) == "INVALID_REQUEST" and "more than 65535 bytes" in status.status.message
        client = Milvus(milvus.uri, call_s=30.0)
        with pytest.raises(SightlineError, match="is being changed by a server that writes to it on "):
            await asyncio.to_thread(push, open_shop(shop), shop.name, client)
        await asyncio.to_thread(client.close)


def open_shop(folder: Path) -> Any:
    from sightline_server.index.catalog import open_catalog

    return open_catalog(folder)


async def test_a_folder_that_another_process_changed_is_searched_and_not_written_until_it_is_pushed(
    milvus: MilvusServer, shop: Path
) -> None:
    with LivingCatalog(shop, actor="another") as another:
        another.delete(["p000000"])
    async with living(milvus.uri, shop, shop.name) as served:
        assert "p000000" in ids(await served.nearest(vector(1), 100)), "as it was pushed"
        [status] = await served.upsert(product("a", vector(1)))
        assert reason(status) == "INDEX_UNAVAILABLE"
        assert "its folder has another content than Milvus" in status.status.message
        assert str(shop) not in status.status.message
        await asyncio.to_thread(push_writable, milvus.uri, shop, shop.name)
        await until(lambda: writable(served))
        assert "p000000" not in ids(await served.nearest(vector(1), 100))
        assert reason((await served.upsert(product("a", vector(1))))[0]) == "OK"


async def test_another_server_sees_writes_within_seconds(milvus: MilvusServer, shop: Path) -> None:
    async with (
        living(milvus.uri, shop, shop.name) as served,
        serving(**in_milvus(milvus, shop.name)) as reader,
    ):
        assert reason((await served.upsert(product("a", vector(1), title="Old")))[0]) == "OK"
        assert reason(await served.update("a", title="New")) == "OK"
        assert reason((await served.delete("p000000"))[0]) == "OK"

        async def seen() -> tuple[bool, bool, str]:
            view = reader.catalogs.current(shop.name)
            [found] = await view.nearest(vector(1)[np.newaxis], 100)
            assert len(ids(found)) == len(set(ids(found))), "one version of each"
            title = view.products([found[0].row])[0].title
            return "a" in ids(found), "p000000" in ids(found), title

        async with asyncio.timeout(10):
            while await seen() != (True, False, "New"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
