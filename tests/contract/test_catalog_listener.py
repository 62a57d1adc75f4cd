"""The listener of CatalogService: its states, limits, access, and callers that disconnect or stop reading."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline_server.access.audit import AuditRecord
from sightline_server.access.checks import Access
from sightline_server.access.policy import Decision
from sightline_server.access.principal import Caller, anonymous
from sightline_server.app.catalog_listener import catalog_server
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc import request_stream
from sightline_server.settings import Settings
from tests.support.authority import Authority
from tests.support.catalog_service import (
    SHOP,
    catalog_serving,
    make_shop,
    png,
    product,
    ready,
    reason,
    upsert,
    upserted,
)
from tests.support.lens import channel_to, details_of, until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
GET = pb.GetCatalogRequest(name=SHOP)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path)


async def test_calls_are_refused_until_the_catalogs_are_open(shop: Path) -> None:
    async with catalog_serving(shop, opened=False) as served, grpc.aio.insecure_channel(served.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="sightline.v1.CatalogService")
        assert (await health.Check(request)).status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.GetCatalog(GET)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upserted(served, upsert(product("x", ready(served.embedder))))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        served.door.writers.publish({"shop": served.writer}, served.images)
        await served.door.open()
        assert (await health.Check(request)).status == SERVING
        assert (await served.stub.GetCatalog(GET)).catalog.product_count == 5
        method = "GetCatalog"
        assert (
            served.metrics.registry.get_sample_value("sightline_requests_total", {"method": method, "code": "OK"}) == 1
        )
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="sightline.v1.CatalogService")
        answers = [each async for each in reflection.ServerReflectionInfo(iter([asked]))]
        assert answers[0].file_descriptor_response.file_descriptor_proto


async def test_a_denied_call_writes_nothing_and_leaves_a_record(shop: Path) -> None:
    records: list[AuditRecord] = []

    class Denying:
        def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
            return Decision(False, "not this one")

        def admit(self, caller: Caller) -> Decision:
            return Decision(True, "any method")

        def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
            return Decision(True, "any lane")

    class Kept:
        def record(self, record: AuditRecord) -> None:
            records.append(record)

    def access(catalogs: CatalogNames) -> Access:
        return Access(identify=anonymous, policy=Denying(), audit=Kept(), catalogs=catalogs)

    async with catalog_serving(shop, access=access) as served:
        bad = upsert(product("", ready("other")))
        for call in (upserted(served, bad), served.stub.GetCatalog(GET)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert sorted((each.method, each.catalog, each.decision) for each in records) == [
            ("GetCatalog", "shop", "denied"),
            ("UpsertProducts", "shop", "denied"),
        ]
        assert served.writer.pending == 0


async def test_a_caller_that_leaves_in_mid_stream_harms_nobody(shop: Path) -> None:
    async with catalog_serving(shop) as served:
        served.engine.models["embedder"].gate.clear()
        call = served.stub.UpsertProducts()
        await call.write(upsert(product("ready", ready(served.embedder))))
        assert reason((await call.read()).status) == "OK"
        for n in range(5):
            await call.write(upsert(product(f"n{n}", pb.ProductImage(data=png(n), link="x"))))
        await served.engine.models["embedder"].started.wait()
        call.cancel()
        await until(lambda: served.door.admission.inside == 0)
        served.engine.models["embedder"].gate.set()
        [status] = await upserted(served, upsert(product("after", pb.ProductImage(data=png(), link="x"))))
        assert reason(status) == "OK"
        assert served.door._edge._uploads.budget.used == 0
        assert await served.writer.get("n4") is None


async def test_a_caller_that_reads_nothing_is_held_back_and_ended(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_stream, "IDLE_S", 0.5)
    async with catalog_serving(shop) as served:
        # Without probes HTTP/2 has a window of 64 kB, which some hundred statuses fill.
        bad = upsert(product("i" * 250 + "\n", ready(served.embedder)))

        async def flood() -> None:
            async with grpc.aio.insecure_channel(served.address, [("grpc.http2.bdp_probe", 0)]) as channel:
                method: Any = channel.stream_stream(
                    "/sightline.v1.CatalogService/UpsertProducts",
                    request_serializer=pb.UpsertProductsRequest.SerializeToString,
                )
                call = method()
                while not call.done():
                    await call.write(bad)

        flooding = asyncio.create_task(flood())
        await until(lambda: served.door.admission.inside == 1)
        await until(lambda: served.door.admission.inside == 0)
        assert not flooding.done()
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        assert (await served.stub.GetCatalog(GET)).catalog.product_count == 5


async def test_a_stop_answers_what_was_read_and_says_so(shop: Path) -> None:
    async with catalog_serving(shop) as served:
        call = served.stub.UpsertProducts()
        await call.write(upsert(product("x", ready(served.embedder))))
        assert reason((await call.read()).status) == "OK"
        await served.door.close(5.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(caught.value)["ErrorInfo"].reason == "STOPPING"


async def test_an_idle_stream_is_ended(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_stream, "IDLE_S", 0.2)
    async with catalog_serving(shop) as served:
        call = served.stub.UpsertProducts()
        await call.write(upsert(product("x", ready(served.embedder))))
        assert reason((await call.read()).status) == "OK"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_message_over_the_limit_ends_the_call_and_nothing_else(shop: Path) -> None:
    limits = {"max_photo_bytes": 100_000}
    async with catalog_serving(shop, limits=limits) as served:
        huge = upsert(product("x", pb.ProductImage(data=b"\xff" * 2_000_000, link="x")))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await upserted(served, huge)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await served.stub.GetCatalog(GET)).catalog.product_count == 5


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"catalog_listen": "0.0.0.0:0"}, "server.catalog_listen 0.0.0.0:0 can be reached by other machines"),
        ({"catalog_listen": "127.0.0.1:0", "workers": 2}, "server.catalog_listen needs one process"),
    ],
)
def test_listeners_that_cannot_be_right_are_refused(server: dict[str, object], message: str) -> None:
    with pytest.raises(SightlineError, match=message) as caught:
        catalog_server(Settings(server=server).server)  # type: ignore[arg-type]
    assert caught.value.kind is ErrorKind.CONFIGURATION


async def test_a_stream_without_a_deadline_has_the_longest_one(shop: Path) -> None:
    async with catalog_serving(shop) as served:
        call = served.stub.UpsertProducts()
        await call.write(upsert(product("x", ready(served.embedder))))
        await call.read()
        [inside] = served.door._calls._open
        assert inside.deadline - inside.started == pytest.approx(3600.0)
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK


async def test_the_listener_has_the_certificate_of_the_server(shop: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {"tls_cert": authority.cert, "tls_key": authority.key, "tls_client_ca": authority.root}
    async with catalog_serving(shop, credentials=authority.credentials(client=True), server=files) as served:
        assert (await served.stub.GetCatalog(GET)).catalog.product_count == 5
        stranger = channel_to(served.address, authority.credentials(stranger=True), ())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await CatalogServiceStub(stranger).GetCatalog(GET)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await stranger.close()
