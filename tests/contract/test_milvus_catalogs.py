"""Catalogs in Milvus through the whole server and the command line, with the real Milvus."""

import asyncio
import json
import ssl
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from pymilvus import MilvusClient

from sightline_server.app import milvus_catalogs
from sightline_server.app.warm_up import warm_up
from sightline_server.cli.catalog_push import Target
from sightline_server.cli.catalog_push import push as push_command
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.catalogs import Capability
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.milvus import lease, pushing
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.facts import CollectionFacts
from sightline_server.index.milvus.names import alias_of, collections_of, lease_of
from sightline_server.index.milvus.opening import open_collection
from sightline_server.index.milvus.pushing import push
from sightline_server.index.opening import open_snapshot
from tests.support.asking import asked, events_of
from tests.support.backend_shop import many
from tests.support.catalogs import write_catalog
from tests.support.lens import FakeEngine, Served, details_of, failed, serving
from tests.support.milvus_server import MilvusServer
from tests.support.relay import relayed

EMBEDDER = FakeEngine().embedder
WAIT_S = 60.0


def rows(count: int, seed: int = 1) -> list[CatalogRow]:
    return many(count, seed, dimension=EMBEDDER.dimension)


def pushed(milvus: MilvusServer, folder: Path, name: str, products: Sequence[CatalogRow]) -> pushing.Pushed:
    """Writes a local catalog of `products` at `folder` and copies it to Milvus."""
    write_catalog(folder, products, EMBEDDER)
    client = Milvus(milvus.uri, call_s=30.0)
    try:
        return push(open_catalog(folder), name, client)
    finally:
        client.close()


def in_milvus(milvus: MilvusServer, *names: str) -> dict[str, Any]:
    """Settings of a server with a catalog in its memory, the default one, and those of `names` in Milvus."""
    in_milvus = {name: {"backend": "milvus", "uri": milvus.uri} for name in names}
    return {"catalog": {"path": "/nowhere"}, "catalogs": in_milvus}


async def until(holds: Callable[[], bool]) -> None:
    """Waits for what a server does by itself."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def found(served: Served, catalog: str, **fields: Any) -> list[list[tuple[str, float]]]:
    """Id and similarity of the products of each object."""
    events = await events_of(served.search(asked(catalog=catalog, **fields)))
    return [
        [(each.product.id, each.similarity) for each in event.results.products]
        for event in events
        if event.HasField("results")
    ]


async def test_a_server_finds_in_milvus_what_it_finds_with_faiss(milvus: MilvusServer, tmp_path: Path) -> None:
    pushed(milvus, tmp_path / "shop", "parity", rows(200))
    device = DeviceThread()
    local = await open_snapshot(tmp_path / "shop", "default", EMBEDDER, device)
    async with serving(index=local, **in_milvus(milvus, "parity")) as served:
        for fields in ({}, {"one_per_group": True}, {"filter": {"brands": ["norrvik"]}}):
            with_faiss, with_milvus = await found(served, "default", **fields), await found(served, "parity", **fields)
            assert with_faiss
            for one, other in zip(with_faiss, with_milvus, strict=True):
                assert [each[0] for each in other] == [each[0] for each in one]
                assert [each[1] for each in other] == pytest.approx([each[1] for each in one], abs=1e-5)
        assert served.value("catalog_available", catalog="parity") == 1
        assert served.value("catalog_products", catalog="parity") == 200
        assert served.value("milvus_call_seconds_count", catalog="parity", call="search") > 0
    device.close()


async def test_a_catalog_whose_milvus_is_killed_is_refused_alone_and_comes_back(
    milvus: MilvusServer, tmp_path: Path
) -> None:
    pushed(milvus, tmp_path / "shop", "killed", rows(60))
    async with serving(**in_milvus(milvus, "killed")) as served:
        expected = await found(served, "killed")
        assert expected
        milvus.kill()
        try:
            await until(lambda: served.value("catalog_available", catalog="killed") == 0)
            photo = b"not a photo"
            refusal = await failed(served.search(asked(catalog="killed", photo=photo)))
            assert refusal.code is grpc.StatusCode.UNAVAILABLE, "before the photo is decoded"
            assert refusal.reason == "INDEX_UNAVAILABLE"
            assert refusal.details["RetryInfo"].retry_delay.seconds == 2
            assert await found(served, "default"), "other catalogs are untouched"
            await until(lambda: served.value("milvus_failures_total", catalog="killed", call="alias") > 0)
        finally:
            await asyncio.to_thread(milvus.restart)
        await until(lambda: served.value("catalog_available", catalog="killed") == 1)
        assert await found(served, "killed") == expected


async def test_a_catalog_whose_milvus_is_frozen_is_refused_within_seconds(milvus: MilvusServer, tmp_path: Path) -> None:
    pushed(milvus, tmp_path / "shop", "frozen", rows(20))
    async with serving(**in_milvus(milvus, "frozen")) as served:
        milvus.freeze()
        try:
            await until(lambda: served.value("catalog_available", catalog="frozen") == 0)
            assert (await failed(served.search(asked(catalog="frozen")))).code is grpc.StatusCode.UNAVAILABLE
            assert await found(served, "default")
        finally:
            milvus.thaw()
        await until(lambda: served.value("catalog_available", catalog="frozen") == 1)
        assert await found(served, "frozen")


async def test_a_server_starts_without_the_catalog_and_takes_it_and_its_revisions_in(
    milvus: MilvusServer, tmp_path: Path
) -> None:
    async with serving(**in_milvus(milvus, "later")) as served:
        assert (await failed(served.search(asked(catalog="later")))).code is grpc.StatusCode.UNAVAILABLE
        first = await asyncio.to_thread(pushed, milvus, tmp_path / "first", "later", rows(20))
        await until(lambda: served.value("catalog_info", catalog="later", revision=first.revision) == 1)
        second = await asyncio.to_thread(pushed, milvus, tmp_path / "second", "later", rows(30, seed=2))
        await until(lambda: served.value("catalog_info", catalog="later", revision=second.revision) == 1)
        assert served.value("catalog_products", catalog="later") == 30


async def outcome_of(served: Served, catalog: str) -> tuple[str, bool]:
    """The code of one search, and whether a refusal says when to try again."""
    try:
        await found(served, catalog)
    except grpc.aio.AioRpcError as error:
        return error.code().name, "RetryInfo" in details_of(error)
    return "OK", True


async def test_calls_at_the_moment_of_a_kill_are_refused_or_answered_and_others_untouched(
    milvus: MilvusServer, tmp_path: Path
) -> None:
    pushed(milvus, tmp_path / "shop", "struck", rows(40))
    async with serving(**in_milvus(milvus, "struck")) as served:
        struck: list[tuple[str, bool]] = []
        others: list[tuple[str, bool]] = []

        async def keep_asking(catalog: str, outcomes: list[tuple[str, bool]]) -> None:
            while True:
                outcomes.append(await outcome_of(served, catalog))
                await asyncio.sleep(0.1)

        asking = [asyncio.create_task(keep_asking(*each)) for each in (("struck", struck), ("default", others))]
        await until(lambda: len(struck) > 5)
        milvus.kill()
        try:
            await until(lambda: ("UNAVAILABLE", True) in struck and struck[-1][0] == "UNAVAILABLE")
        finally:
            await asyncio.to_thread(milvus.restart)
        await until(lambda: served.value("catalog_available", catalog="struck") == 1)
        before = len(struck)
        await until(lambda: len(struck) > before + 5)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert set(struck) == {("OK", True), ("UNAVAILABLE", True)}
        assert set(others) == {("OK", True)}
        assert [code for code, _ in struck[-3:]] == ["OK"] * 3


async def test_a_server_is_warm_although_its_default_catalog_is_away() -> None:
    nowhere = {"shop": {"backend": "milvus", "uri": "http://127.0.0.1:1"}}
    async with serving(catalogs=nowhere) as served:
        await warm_up(served.pipeline, served.front.settings)
        assert (await failed(served.search(asked()))).reason == "INDEX_UNAVAILABLE"
        assert served.value("milvus_failures_total", catalog="shop", call="connect") > 0


def test_a_push_that_fails_is_never_served_and_is_removed_by_the_next(
    milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pushed(milvus, tmp_path / "first", "half", rows(20))

    def broken(milvus: Milvus, collection: str, index: str) -> None:
        raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(Milvus, "finish", broken)
        with pytest.raises(SightlineError):
            pushed(milvus, tmp_path / "second", "half", rows(30))
    client = Milvus(milvus.uri)
    assert len(client.collections(collections_of("half"))) == 2
    assert client.active(alias_of("half")) == before.collection
    assert open_collection(client, "half").product_count == 20
    after = pushed(milvus, tmp_path / "third", "half", rows(40))
    assert set(client.collections(collections_of("half"))) == {before.collection, after.collection}
    assert client.active(alias_of("half")) == after.collection
    pushed(milvus, tmp_path / "fourth", "half", rows(10))
    assert before.collection not in client.collections(collections_of("half"))
    client.close()


def test_a_second_push_at_the_same_time_is_refused_and_removes_nothing(
    milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()
    finish = Milvus.finish

    def paused(milvus: Milvus, collection: str, index: str) -> None:
        reached.set()
        assert go_on.wait(60)
        finish(milvus, collection, index)

    monkeypatch.setattr(Milvus, "finish", paused)
    monkeypatch.setattr(lease, "BEAT_S", 0.5)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(pushed, milvus, tmp_path / "first", "twice", rows(20))
        assert reached.wait(60)
        try:
            with pytest.raises(SightlineError, match=r"is being changed by a push on .*; wait until that has ended"):
                pushed(milvus, tmp_path / "second", "twice", rows(30))
        finally:
            go_on.set()
        done = first.result(60)
    client = Milvus(milvus.uri)
    assert client.active(alias_of("twice")) == done.collection
    assert open_collection(client, "twice").product_count == 20
    assert client.reserved(lease_of("twice")) is None, "and the lease is given back"
    client.close()


def test_a_push_that_was_killed_holds_up_the_next_one_for_a_while_only(
    milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Milvus(milvus.uri)
    killed = lease.Lease(client, "dead", lease.Holder("a push"))
    assert killed.attempt()
    killed.renew()
    for name, seconds in (("SILENT_S", 6.0), ("MARGIN_S", 1.0), ("SETTLE_S", 0.5), ("BEAT_S", 0.5)):
        monkeypatch.setattr(lease, name, seconds)
    done = pushed(milvus, tmp_path / "shop", "dead", rows(20))
    assert client.active(alias_of("dead")) == done.collection
    client.close()


def test_a_push_whose_catalog_was_changed_meanwhile_leaves_that(
    milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pushed(milvus, tmp_path / "first", "compared", rows(20))
    client, finish = Milvus(milvus.uri), Milvus.finish

    def another_takes_it(milvus: Milvus, collection: str, index: str) -> None:
        finish(milvus, collection, index)
        client.create("other_of_compared", CollectionFacts.parse(client.description(before.collection)), 4)
        client.activate(alias_of("compared"), "other_of_compared", existing=True)

    monkeypatch.setattr(Milvus, "finish", another_takes_it)
    with pytest.raises(SightlineError, match="was changed during the push, and stays as it is"):
        pushed(milvus, tmp_path / "second", "compared", rows(30))
    assert client.active(alias_of("compared")) == "other_of_compared"
    client.close()


@pytest.mark.parametrize("what", ["rows are missing", "rows are other ones", "another program made it"])
def test_a_collection_that_is_not_what_was_pushed_is_not_served(
    milvus: MilvusServer, tmp_path: Path, what: str
) -> None:
    name = what.replace(" ", "-")
    done = pushed(milvus, tmp_path / "shop", name, rows(30))
    client, raw = Milvus(milvus.uri), MilvusClient(milvus.uri)
    kind, text = ErrorKind.INDEX_UNAVAILABLE, "were pushed"
    if what == "rows are missing":
        raw.delete(done.collection, ids=[7])
    elif what == "rows are other ones":
        text = "its content is not what was pushed"
        [row] = raw.query(done.collection, filter="image == 0", output_fields=["*"])
        raw.upsert(done.collection, [{**row, "title": "Another"}])
    else:
        kind, text = ErrorKind.CONFIGURATION, "is not a Sightline catalog"
        raw.create_collection("foreign", dimension=4)
        raw.alter_alias("foreign", alias_of(name))
    with pytest.raises(SightlineError) as caught:
        open_collection(client, name)
    assert caught.value.kind is kind
    assert text in caught.value.message
    client.close()
    raw.close()


def test_the_command_pushes_a_folder_and_says_what_is_active(
    milvus: MilvusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalog(tmp_path / "shop", rows(25), EMBEDDER)
    push_command(str(tmp_path / "shop"), to=Target.MILVUS, uri=milvus.uri, name="by-command")
    out, err = capsys.readouterr()
    assert out.startswith("by-command: revision ")
    assert "25 products" in out and "recall@10 1.000" in out
    assert err.splitlines()[-1].endswith(" rows")


async def test_milvus_behind_tls_is_reached_by_its_authority_and_no_other(milvus: MilvusServer, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("localhost").configure_cert(context)
    for each, name in ((authority, "right.pem"), (stranger, "wrong.pem")):
        each.cert_pem.write_to_path(str(tmp_path / name))
    onward = relayed(lambda: asyncio.open_connection("127.0.0.1", int(milvus.uri.rpartition(":")[2])))
    async with await asyncio.start_server(onward, "127.0.0.1", ssl=context) as server:
        uri = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        client = await asyncio.to_thread(Milvus, uri, ca_file=str(tmp_path / "right.pem"))
        assert await asyncio.to_thread(client.collections, "no such beginning") == []
        await asyncio.to_thread(client.close)
        with pytest.raises(SightlineError) as caught:
            await asyncio.to_thread(Milvus, uri, ca_file=str(tmp_path / "wrong.pem"), call_s=2.0)
        assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE


def test_a_graph_is_built_above_the_limit_and_finds_the_nearest(milvus: MilvusServer, tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", rows(400), EMBEDDER)
    client = Milvus(milvus.uri, call_s=30.0)
    done = push(open_catalog(tmp_path / "shop"), "graph", client, exact_mib=0)
    assert done.recall >= 0.95
    assert Capability.EXACT not in open_collection(client, "graph").capabilities
    client.close()


async def test_a_server_without_pymilvus_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.index.milvus.client", None)
    with pytest.raises(SightlineError, match=r"pip install 'sightline\[milvus\]'"):
        milvus_catalogs.require_pymilvus()


def test_the_text_of_a_filter_is_in_no_log(
    milvus: MilvusServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client = Milvus(milvus.uri)
    with pytest.raises(SightlineError) as caught:
        client.count("sightline_nowhere", 'brand in ["a secret brand"')
    assert caught.value.kind is ErrorKind.INDEX_UNAVAILABLE
    assert caught.value.retry_after_s == 2.0
    out, err = capfd.readouterr()
    assert "secret" not in caplog.text + out + err + caught.value.message
    client.close()


def test_facts_of_another_format_are_refused() -> None:
    with pytest.raises(SightlineError, match="has format 9, this server reads 2"):
        CollectionFacts.parse(json.dumps({"format": 9}))
